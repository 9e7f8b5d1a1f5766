// matmul.glsl - what the matrix products share: their push constants and the last step, act(sum + bias) + residual.
#extension GL_EXT_buffer_reference_uvec2 : require
#ifdef REAL16
#define REAL_BYTES 2
#else
#define REAL_BYTES 4
#endif

struct MatmulPush {
    InReal a, b;
    OutReal y;
    InReal bias, residual; // null where there is none
    uint m, n, k;
    uint panel;     // columns of a panel of B; 0: B lies in plain rows
    uint first_row; // of this dispatch
    uint act;       // ts_act
    // the image and the kernel
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

// Four columns of a row before the last step: those past the end are zero.
vec4 bias_at(MatmulPush p, bool wide, uint column)
{
    if (!present(p.bias) || column >= p.n) return vec4(0.0);
    if (wide) return load_four(p.bias, column);
    vec4 v = vec4(0.0);
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (column + i < p.n) v[i] = float(p.bias.v[column + i]);
    return v;
}

// The last step for four columns of a row, of which those that exist are stored; `v` has the bias.
void finish(MatmulPush p, uint act, bool wide, uint row, uint column, vec4 v)
{
    if (column >= p.n) return;
    const uint at = row * p.n + column;
    v = activate(act, v);
    if (wide) {
        if (present(p.residual)) v += load_four(p.residual, at);
        store_four(p.y, at, v);
        return;
    }
    const uint count = min(4, p.n - column);
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (i < count) {
            if (present(p.residual)) v[i] += float(p.residual.v[at + i]);
            p.y.v[at + i] = REAL(v[i]);
        }
}
