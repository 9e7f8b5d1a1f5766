/* shader_table.h - the SPIR-V of every shader, embedded at build time by cmake/shaders.cmake. */
#ifndef TESSERA_SHADER_TABLE_H
#define TESSERA_SHADER_TABLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name; /* "layernorm_f32"; NULL ends the table */
    const uint32_t *code;
    size_t bytes;
} ts_shader;

extern const ts_shader ts_shader_table[];

#endif
