// matmul_cpu.glsl - what the products for CPU drivers share (matmul_cpu.comp says why they are as they are): loads in 64-bit words, and where
// a row of A lies in an image. Specialisation: 0 and 1 lanes of the subgroup, which is the workgroup.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint LANES = 8;

#include "four64.glsl"

vec4 load_four64(Four64 p, uint at)
{
    return unpack_four(p.v[at]);
}

#include "matmul.glsl"

const uint BYTES = REAL_BYTES;

// Row `row` of A: the address of its image, and the place there under the kernel's first tap.
void locate(MatmulPush p, uint row, out uint64_t image, out ivec2 corner)
{
    const uint size = p.out_height * p.out_width, place = row % size;
    corner = ivec2(place % p.out_width, place / p.out_width) * int(p.stride) - ivec2(p.left, p.top);
    image = uint64_t(p.a) + BYTES * (uint64_t(row / size) * p.height * p.width * p.channels);
}

bool in_image(MatmulPush p, ivec2 at)
{
    return at.x >= 0 && at.y >= 0 && at.x < int(p.width) && at.y < int(p.height);
}

// Its first number, counted from the image's.
uint64_t pixel(MatmulPush p, ivec2 at)
{
    return (uint64_t(at.y) * p.width + at.x) * p.channels;
}
