// four.glsl - four numbers in one load or store. They lie on a multiple of four.
#ifdef REAL16
#define FOUR_BYTES 8
#else
#define FOUR_BYTES 16
#endif
layout(buffer_reference, scalar, buffer_reference_align = FOUR_BYTES) readonly buffer InFour { REAL4 v[]; };
layout(buffer_reference, scalar, buffer_reference_align = FOUR_BYTES) writeonly buffer OutFour { REAL4 v[]; };

// At number `at`, a multiple of four.
vec4 load_four(InReal p, uint at)
{
    return vec4(InFour(p).v[at / 4]);
}

void store_four(OutReal p, uint at, vec4 v)
{
    OutFour(p).v[at / 4] = REAL4(v);
}
