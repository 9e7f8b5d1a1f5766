// common.glsl - what every shader shares: the storage type (fp32, or fp16 with REAL16), buffer references, row reductions.
// Arithmetic is fp32 in both variants. A pointer in the push constants is one of these references.
// A trap: Mesa's CPU driver (22.3) lets an invocation do 65535 loop iterations, all of its loops counted together, and ends every loop
// then, silently. So a long sum is spread over invocations, or its loops unrolled.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_16bit_storage : require
#ifdef REAL16
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define REAL float16_t
#define REAL4 f16vec4
#else
#define REAL float
#define REAL4 vec4
#endif

layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer InReal { REAL v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) readonly buffer InReal4 { REAL4 v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) writeonly buffer OutReal { REAL v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) writeonly buffer OutReal4 { REAL4 v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) readonly buffer InInt { int v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) writeonly buffer OutInt { int v[]; };
// Sums on their way stay in fp32, whatever the storage.
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Float { float v[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer Float4 { vec4 v[]; };
