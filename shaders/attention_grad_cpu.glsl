// attention_grad_cpu.glsl - the two products of attention's gradient on a driver that runs on the CPU: no shared memory, no barrier, as in
// attention_cpu.comp. One subgroup owns ROWS rows (of q, or of k and v). For the scores lanes are the other rows, four each at a time; for what is
// summed over those lanes are dimensions, four (a vec4) DEPTH times. What the lanes share goes by broadcast.
// Specialisation: 0 width of the workgroup, which is one subgroup; 1 ROWS, no more than that; 2 DEPTH; 3 whether dim is a multiple of 4.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DEPTH = 1;
layout(constant_id = 3) const bool WHOLE = false;

const uint SUMS = ROWS * DEPTH;

// Elements d to d + 3 of the row at `base`, zeros beyond the last dimension (where WHOLE, d must be inside).
vec4 load(InReal from, uint base, uint d)
{
    if (WHOLE) return vec4(InReal4(from).v[(base + d) / 4]);
    vec4 x;
    [[unroll]] for (uint i = 0; i < 4; i++)
    {
        const float value = float(from.v[base + min(d + i, dim - 1)]);
        x[i] = d + i < dim ? value : 0.0;
    }
    return x;
}

// s[r]: the r-th lane's row of a times this lane's four rows of b.
void products(InReal a, uint a_row, InReal b, uvec4 b_row, out vec4 s[ROWS])
{
    [[unroll]] for (uint r = 0; r < ROWS; r++) s[r] = vec4(0.0);
    for (uint d = 0; d < dim; d += 4) {
        const vec4 mine = load(a, a_row, d);
        const vec4 b0 = load(b, b_row.x, d), b1 = load(b, b_row.y, d), b2 = load(b, b_row.z, d), b3 = load(b, b_row.w, d);
        [[unroll]] for (uint r = 0; r < ROWS; r++)
        {
            const vec4 x = subgroupBroadcast(mine, r);
            s[r] += vec4(dot(x, b0), dot(x, b1), dot(x, b2), dot(x, b3));
        }
    }
}

void clear(out vec4 acc[SUMS])
{
    [[unroll]] for (uint i = 0; i < SUMS; i++) acc[i] = vec4(0.0);
}

// acc[r] += the weights of row r times rows tile.. of b, of which there are `count`; lane l has the weights of rows tile + l, + lanes further each.
void accumulate(vec4 weight[ROWS], InReal b, uint base, uint stride, uint tile, uint count, uint first, inout vec4 acc[SUMS])
{
    const uint lanes = gl_WorkGroupSize.x;
    for (uint group = tile; group < min(tile + 4 * lanes, count); group += lanes) {
        [[unroll]] for (uint i = 0; i < lanes; i++)
        {
            const uint row = base + min(group + i, count - 1) * stride;
            vec4 x[DEPTH];
            [[unroll]] for (uint c = 0; c < DEPTH; c++)
            {
                const uint d = first + c * lanes * 4;
                x[c] = load(b, row, WHOLE ? min(d, dim - 4) : d);
            }
            [[unroll]] for (uint r = 0; r < ROWS; r++)
            {
                const float w = subgroupBroadcast(weight[r].x, i);
                [[unroll]] for (uint c = 0; c < DEPTH; c++) acc[r * DEPTH + c] += w * x[c];
            }
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) weight[r] = weight[r].yzwx; // the next group's to the front
    }
}

void store(OutReal to, uint base, uint stride, uint row, uint rows, uint first, vec4 acc[SUMS])
{
    [[unroll]] for (uint r = 0; r < ROWS; r++)
    {
        if (row + r >= rows) continue;
        const uint at = base + (row + r) * stride;
        [[unroll]] for (uint c = 0; c < DEPTH; c++)
        {
            const uint d = first + c * gl_WorkGroupSize.x * 4;
            const vec4 result = acc[r * DEPTH + c];
            if (WHOLE) {
                if (d < dim) OutReal4(to).v[(at + d) / 4] = REAL4(result);
            } else {
                [[unroll]] for (uint i = 0; i < 4; i++) if (d + i < dim) to.v[at + d + i] = REAL(result[i]);
            }
        }
    }
}
