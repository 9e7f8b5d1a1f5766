// matmul.glsl - what the matrix products share: their push constants and the last step, act(sum + bias) + residual.
#extension GL_EXT_buffer_reference_uvec2 : require
#ifdef REAL16
#define REAL_BYTES 2
#else
#define REAL_BYTES 4
#endif

// Four numbers that lie on a multiple of four.
layout(buffer_reference, scalar, buffer_reference_align = 4 * REAL_BYTES) readonly buffer InFour { REAL4 v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4 * REAL_BYTES) writeonly buffer OutFour { REAL4 v[]; };

struct MatmulPush {
    InReal a, b;
    OutReal y;
    InReal bias, residual; // null where there is none
    uint m, n, k;
    uint panel;     // columns of a panel of B; 0: B lies in plain rows
    uint first_row; // of this dispatch
    // with CONV: the image, and the kernel
    uint height, width, channels, out_height, out_width, kernel_w, stride;
    int top, left;
};
layout(push_constant, scalar) uniform Push {
    MatmulPush push;
};

bool present(InReal p)
{
    return any(notEqual(uvec2(p), uvec2(0)));
}

vec4 activate(uint act, vec4 v)
{
    if (act == 1) return gelu(v);
    if (act == 2) return quick_gelu(v);
    if (act == 3) return swish(v);
    return v;
}

// Stores four columns of a row, those that exist.
void finish(MatmulPush p, uint act, bool wide, uint row, uint column, vec4 v)
{
    if (column >= p.n) return;
    const uint at = row * p.n + column;
    if (wide) {
        if (present(p.bias)) v += vec4(InFour(p.bias).v[column / 4]);
        v = activate(act, v);
        if (present(p.residual)) v += vec4(InFour(p.residual).v[at / 4]);
        OutFour(p.y).v[at / 4] = REAL4(v);
        return;
    }
    const uint count = min(4, p.n - column);
    if (present(p.bias)) [[unroll]] for (uint i = 0; i < 4; i++)
        if (i < count) v[i] += float(p.bias.v[column + i]);
    v = activate(act, v);
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (i < count) {
            if (present(p.residual)) v[i] += float(p.residual.v[at + i]);
            p.y.v[at + i] = REAL(v[i]);
        }
}
