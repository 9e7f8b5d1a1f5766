// matmul.glsl - what the matrix products share: their push constants and the last step, act(sum + bias) + residual.
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#ifdef REAL16
#define REAL_BYTES 2
#else
#define REAL_BYTES 4
#endif

struct MatmulPush {
    uint64_t a, b, y, bias, residual; // bias and residual: 0 where there is none
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
        if (p.bias != 0) v += vec4(InReal4(p.bias).v[column / 4]);
        v = activate(act, v);
        if (p.residual != 0) v += vec4(InReal4(p.residual).v[at / 4]);
        OutReal4(p.y).v[at / 4] = REAL4(v);
        return;
    }
    const uint count = min(4, p.n - column);
    if (p.bias != 0) [[unroll]] for (uint i = 0; i < 4; i++)
        if (i < count) v[i] += float(InReal(p.bias).v[column + i]);
    v = activate(act, v);
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (i < count) {
            if (p.residual != 0) v[i] += float(InReal(p.residual).v[at + i]);
            OutReal(p.y).v[at + i] = REAL(v[i]);
        }
}
