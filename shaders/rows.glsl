// rows.glsl - one workgroup works on one row. On a GPU the workgroup has several subgroups and reduces through shared memory; on
// a driver that runs on the CPU the workgroup is one subgroup, and no barrier is met (there a barrier costs more than the row).
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint subgroups = 1; // of the workgroup

shared float partial[64];
shared uint partial_uint[64];

uint row_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

// The sum of `v` over the workgroup, known to all of it.
float row_sum(float v)
{
    v = subgroupAdd(v);
    if (subgroups == 1) return v;
    barrier(); // an earlier reduction may still be read
    if (subgroupElect()) partial[gl_SubgroupID] = v;
    barrier();
    float sum = 0.0;
    for (uint i = 0; i < gl_NumSubgroups; i++) sum += partial[i];
    return sum;
}

float row_max(float v)
{
    v = subgroupMax(v);
    if (subgroups == 1) return v;
    barrier();
    if (subgroupElect()) partial[gl_SubgroupID] = v;
    barrier();
    float top = partial[0];
    for (uint i = 1; i < gl_NumSubgroups; i++) top = max(top, partial[i]);
    return top;
}

uint row_min(uint v)
{
    v = subgroupMin(v);
    if (subgroups == 1) return v;
    barrier();
    if (subgroupElect()) partial_uint[gl_SubgroupID] = v;
    barrier();
    uint least = partial_uint[0];
    for (uint i = 1; i < gl_NumSubgroups; i++) least = min(least, partial_uint[i]);
    return least;
}
