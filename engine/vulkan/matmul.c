/* matmul.c - records matrix products and convolutions: picks the kernel and its tile for the device and the shape, and splits a
 * huge product over rows, so that no dispatch holds the device for longer than a desktop's watchdog likes. Drivers that run on
 * the CPU have a kernel of their own (matmul_cpu.comp): what is quick on a GPU is slow there, and the other way round. */
#include "engine/vulkan/vulkan.h"

#include <string.h>

static const double most_flops = 2e10; /* of a dispatch */

/* The push constants of matmul.glsl. */
typedef struct {
    uint64_t a, b, out, bias, residual;
    uint32_t m, n, k, panel, first_row, act;
    uint32_t height, width, channels, out_height, out_width, kernel_w, stride;
    int32_t top, left;
} matmul_push;

/* A kernel with its specialisation, and the rows and columns that a workgroup makes. */
typedef struct {
    const char *shader;
    uint32_t spec[TS_VK_MAX_SPEC];
    int spec_count;
    uint32_t rows, columns;
} matmul_kernel;

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* How many rows a workgroup of matmul_cpu takes at best, and what so many rows cost then. A short block loads more for each
 * product, a long one may be half empty. */
static uint32_t rows_on_cpu(int64_t rows, double *cost)
{
    static const struct {
        uint32_t rows;
        double cost; /* of a row */
    } choices[] = {{32, 1.0}, {16, 1.25}, {8, 1.8}};
    uint32_t best = 0;
    *cost = 0;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        const double c = (double)ceil_div((uint64_t)rows, choices[i].rows) * choices[i].rows * choices[i].cost;
        if (best == 0 || c < *cost) {
            best = choices[i].rows;
            *cost = c;
        }
    }
    return best;
}

/* Of m rows, those to give to blocks of 32; the rest is cheaper in short blocks. */
static int64_t rows_in_long_blocks(int64_t m)
{
    const int64_t body = m / 32 * 32;
    double whole, split = 0;
    rows_on_cpu(m, &whole);
    if (m > body) rows_on_cpu(m - body, &split);
    return body > 0 && (double)body + split < whole ? body : m;
}

/* Whether the numbers of A, of B, can be loaded in fours. */
static bool a_in_fours(const ts_vk_matmul *p)
{
    return (p->conv ? p->channels : p->k) % 4 == 0;
}

static bool b_in_fours(const ts_vk_matmul *p)
{
    return p->n % 4 == 0;
}

static matmul_kernel kernel_on_cpu(const ts_vk_limits *limits, const ts_vk_matmul *p, int64_t m)
{
    double cost;
    const uint32_t rows = rows_on_cpu(m, &cost);
    return (matmul_kernel){.shader = "matmul_cpu",
                           .spec = {limits->subgroup, limits->subgroup, rows, a_in_fours(p), b_in_fours(p)},
                           .spec_count = 5,
                           .rows = rows,
                           .columns = 8 * limits->subgroup};
}

/* For products with very few columns. */
static bool is_narrow(const ts_vk_matmul *p)
{
    return p->n <= 4 && a_in_fours(p);
}

static matmul_kernel narrow_kernel(const ts_vk_limits *limits, const ts_vk_matmul *p)
{
    return (matmul_kernel){.shader = "matmul_narrow",
                           .spec = {limits->subgroup, limits->subgroup, b_in_fours(p)},
                           .spec_count = 3,
                           .rows = 4 * limits->subgroup,
                           .columns = 4};
}

/* Large tiles do most work for what they load, small ones give every core of the device something to do. */
static matmul_kernel kernel_on_gpu(const ts_vk_limits *limits, const ts_vk_matmul *p)
{
    static const struct {
        uint32_t threads, rows, columns, high, wide; /* of an invocation: high x wide outputs */
        uint32_t shared;                             /* bytes */
        uint64_t least;                              /* fewer workgroups than this leave a GPU idle */
    } tiles[] = {{256, 128, 128, 8, 8, 18432, 96}, {256, 64, 64, 4, 4, 9216, 96}, {64, 32, 32, 4, 4, 4608, 0}};
    int i = 0;
    while (tiles[i].least > 0 &&
           (tiles[i].threads > limits->max_workgroup || tiles[i].shared > limits->max_shared ||
            ceil_div((uint64_t)p->m, tiles[i].rows) * ceil_div((uint64_t)p->n, tiles[i].columns) < tiles[i].least))
        i++;
    return (matmul_kernel){.shader = "matmul_tile",
                           .spec = {tiles[i].threads, tiles[i].rows, tiles[i].columns, tiles[i].high, tiles[i].wide,
                                    (uint32_t)p->act, p->conv, a_in_fours(p), b_in_fours(p)},
                           .spec_count = 9,
                           .rows = tiles[i].rows,
                           .columns = tiles[i].columns};
}

/* Rows [first, end) by one kernel. */
static bool record_rows(ts_vk_cmd *cmd, const matmul_kernel *kernel, matmul_push *push, int64_t first, int64_t end, ts_error *err)
{
    const uint64_t most_groups = ts_vk_limits_of(cmd)->max_groups[0];
    const double block_flops = 2.0 * kernel->rows * (double)push->n * (double)push->k; /* of a block of rows */
    const uint64_t blocks = ceil_div((uint64_t)(end - first), kernel->rows);
    uint64_t most = block_flops < most_flops ? (uint64_t)(most_flops / block_flops) : 1;
    if (most > most_groups) most = most_groups;
    ts_vk_dispatch_desc desc = {
        .shader = kernel->shader, .spec_count = kernel->spec_count, .push = push, .push_bytes = sizeof *push};
    memcpy(desc.spec, kernel->spec, sizeof desc.spec);
    desc.groups[1] = (uint32_t)ceil_div(push->n, kernel->columns);
    push->m = (uint32_t)end;
    for (uint64_t block = 0; block < blocks; block += most) {
        const uint64_t count = blocks - block < most ? blocks - block : most;
        push->first_row = (uint32_t)((uint64_t)first + block * kernel->rows);
        desc.groups[0] = (uint32_t)count;
        desc.flops = block_flops * (double)count;
        if (!ts_vk_dispatch(cmd, &desc, err)) return false;
    }
    return true;
}

bool ts_vk_matmul_record(ts_vk_cmd *cmd, const ts_vk_matmul *p, ts_error *err)
{
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    matmul_push push = {.a = p->a,
                        .b = p->b,
                        .out = p->out,
                        .bias = p->bias,
                        .residual = p->residual,
                        .n = (uint32_t)p->n,
                        .k = (uint32_t)p->k,
                        .panel = p->plain_b ? 0 : limits->panel,
                        .act = (uint32_t)p->act,
                        /* plain rows: the pixels of an image one pixel high, under a 1x1 kernel */
                        .height = 1,
                        .width = (uint32_t)p->m,
                        .channels = (uint32_t)p->k,
                        .out_height = 1,
                        .out_width = (uint32_t)p->m,
                        .kernel_w = 1,
                        .stride = 1};
    if (p->conv) {
        push.height = (uint32_t)p->height;
        push.width = (uint32_t)p->width;
        push.channels = (uint32_t)p->channels;
        push.out_height = (uint32_t)p->out_height;
        push.out_width = (uint32_t)p->out_width;
        push.kernel_w = (uint32_t)p->kernel_w;
        push.stride = (uint32_t)p->stride;
        push.top = p->top;
        push.left = p->left;
    }
    if (!limits->cpu) {
        const matmul_kernel kernel = kernel_on_gpu(limits, p);
        return record_rows(cmd, &kernel, &push, 0, p->m, err);
    }
    const bool narrow = is_narrow(p);
    int64_t end = narrow ? p->m : rows_in_long_blocks(p->m);
    for (int64_t first = 0; first < p->m; first = end, end = p->m) {
        const matmul_kernel kernel = narrow ? narrow_kernel(limits, p) : kernel_on_cpu(limits, p, end - first);
        if (!record_rows(cmd, &kernel, &push, first, end, err)) return false;
    }
    return true;
}
