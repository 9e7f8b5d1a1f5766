// elementwise.glsl - one invocation an item, in x and y because a dispatch has at most 65535 workgroups in each. The last ones
// find nothing to do: return where item_index() is past the end.
// Specialisation: 0 width of the workgroup, 1 the shader's own choice.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint choice = 0;

uint item_index()
{
    return gl_GlobalInvocationID.x + gl_GlobalInvocationID.y * gl_NumWorkGroups.x * gl_WorkGroupSize.x;
}
