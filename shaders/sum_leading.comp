#version 460
// y[k, c] = sum of x[r, c] over the rows r of [k fold, (k + 1) fold).
// Push: x (rows, units), y (left, units). Specialisation: elementwise.glsl, 1: + 2 x is fp32 sums, + 4 y is the result, in the
// storage type, and not fp32 sums; wide.glsl. Dispatch: an invocation a unit of y.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "elementwise.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal x;
    OutReal y;
    uint rows, left, units, fold;
};

vec4 load_sums(uint i)
{
    if (wide) return Float4(x).v[i];
    return vec4(Float(x).v[i], 0.0, 0.0, 0.0);
}

void main()
{
    const uint i = item_index();
    if (i >= left * units) return;
    const uint k = i / units, c = i - k * units, end = min(k * fold + fold, rows);
    vec4 sum = vec4(0.0);
    for (uint r = k * fold; r < end; r++) {
        if ((choice & 2) != 0) sum += load_sums(r * units + c);
        else sum += load_unit(x, r * units + c);
    }
    if ((choice & 4) != 0) store_unit(y, i, sum);
    else if (wide) Float4(y).v[i] = sum;
    else Float(y).v[i] = sum.x;
}
