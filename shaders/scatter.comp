#version 460
// dx[r] = sum of dy[t] over the places t of the row's table with index[t] = r, in their order. A subgroup looks at as many indices
// at once as it has lanes; then every lane adds its columns of those that were found.
// Push: dy (tables, tokens, width), index (tables, tokens), dx (count rows, `rows` to a table, width); width in units.
// Specialisation: rows.glsl, wide.glsl. Dispatch: one workgroup a row of dx (rows.glsl).
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_ballot : require
#include "common.glsl"
#include "rows.glsl"
#include "wide.glsl"

layout(push_constant, scalar) uniform Push {
    InReal dy;
    InInt index;
    OutReal dx;
    uint count, tokens, rows, width;
};

void main()
{
    const uint row = row_index();
    if (row >= count) return;
    const uint table = row / rows, first = table * tokens;
    const int wanted = int(row - table * rows);
    for (uint base = 0; base < width; base += gl_WorkGroupSize.x) {
        const uint c = base + gl_LocalInvocationID.x;
        vec4 sum = vec4(0.0);
        for (uint t = 0; t < tokens; t += gl_SubgroupSize) {
            const uint mine = t + gl_SubgroupInvocationID;
            bool found = false;
            if (mine < tokens) found = index.v[first + mine] == wanted;
            const uvec4 ballot = subgroupBallot(found);
            for (uint word = 0; word < (gl_SubgroupSize + 31) / 32; word++)
                for (uint bits = ballot[word]; bits != 0; bits &= bits - 1)
                    if (c < width) sum += load_unit(dy, (first + t + word * 32 + findLSB(bits)) * width + c);
        }
        if (c < width) store_unit(dx, row * width + c, sum);
    }
}
