// matmul_dw.glsl - what the products for a weight's gradient share: dw (m, n) = A^T dY with A (k, m) the places of an NHWC image under the
// kernel's taps (without CONV: plain rows of m numbers) and dY (k, n). k, the number of places, is far larger than m and n, so
// it is cut in slices, workgroups along z; with SPLIT each writes sums of its own, in fp32, which matmul_dw_sum.comp adds.
// After four.glsl or four64.glsl.
struct DwPush {
    InReal x, dy;
    OutReal dw;   // without SPLIT
    Float sums;   // with SPLIT: slices of m n numbers
    uint m, n, k;
    uint panel;   // columns of a panel of dw; 0: whole rows
    uint first_row, first_slice; // of this dispatch
    uint slice;                  // places of a slice
    uint pixels;                 // of x, where it lies in panels
    uint height, width, channels, out_height, out_width, kernel_w, stride;
    int top, left;
};
layout(push_constant, scalar) uniform Push {
    DwPush push;
};

// Stores four columns of a row, those that exist.
void store_dw(DwPush p, bool split, bool wide, uint slice, uint row, uint column, vec4 v)
{
    if (row >= p.m || column >= p.n) return;
    uint at = row * p.n + column;
    if (p.panel != 0) {
        const uint first = column / p.panel * p.panel;
        at = first * p.m + row * min(p.panel, p.n - first) + column - first;
    }
    if (split) at += slice * p.m * p.n;
    if (wide) {
        if (split) Float4(p.sums).v[at / 4] = v;
        else store_four(p.dw, at, v);
        return;
    }
    [[unroll]] for (uint i = 0; i < 4; i++)
        if (i < p.n - column) {
            if (split) p.sums.v[at + i] = v[i];
            else p.dw.v[at + i] = REAL(v[i]);
        }
}
