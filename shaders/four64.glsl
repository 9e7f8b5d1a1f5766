// four64.glsl - four.glsl for drivers that run on the CPU: a load by address is a loop over the lanes there, whatever its width, so numbers
// are moved in 64-bit words, as wide as can be.
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#ifdef REAL16
#define WORD uint64_t
vec4 unpack_four(uint64_t v)
{
    const uvec2 w = unpackUint2x32(v);
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}
uint64_t pack_four(vec4 v)
{
    return packUint2x32(uvec2(packHalf2x16(v.xy), packHalf2x16(v.zw)));
}
#else
#define WORD u64vec2
vec4 unpack_four(u64vec2 v)
{
    return vec4(uintBitsToFloat(unpackUint2x32(v.x)), uintBitsToFloat(unpackUint2x32(v.y)));
}
u64vec2 pack_four(vec4 v)
{
    return u64vec2(packUint2x32(floatBitsToUint(v.xy)), packUint2x32(floatBitsToUint(v.zw)));
}
#endif
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer Four64 { WORD v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) writeonly buffer OutFour64 { WORD v[]; };

// At number `at`, a multiple of four.
vec4 load_four(InReal p, uint at)
{
    return unpack_four(Four64(p).v[at / 4]);
}

void store_four(OutReal p, uint at, vec4 v)
{
    OutFour64(p).v[at / 4] = pack_four(v);
}
