/* matmul.c - records matrix products and convolutions: picks the kernel and its tile for the device and the shape, and splits a
 * huge product over rows, so that no dispatch holds the device for longer than a desktop's watchdog likes. Drivers that run on
 * the CPU have a kernel of their own (matmul_cpu.comp): what is quick on a GPU is slow there, and the other way round. */
#include "engine/vulkan/vulkan.h"

static const double most_flops = 2e10; /* of a dispatch */

/* The push constants of matmul.glsl. */
typedef struct {
    uint64_t a, b, out, bias, residual;
    uint32_t m, n, k, panel, first_row;
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

/* Of the row counts that the kernel is good at, the one that wastes least. A short block loads more for each product. */
static uint32_t rows_on_cpu(int64_t m)
{
    static const struct {
        uint32_t rows;
        double cost; /* of a row */
    } choices[] = {{32, 1.0}, {16, 1.25}, {8, 1.8}};
    uint32_t best = 0;
    double least = 0;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        double cost = (double)ceil_div((uint64_t)m, choices[i].rows) * choices[i].rows * choices[i].cost;
        if (best == 0 || cost < least) {
            best = choices[i].rows;
            least = cost;
        }
    }
    return best;
}

static matmul_kernel kernel_on_cpu(const ts_vk_limits *limits, const ts_vk_matmul *p)
{
    const bool a_wide = (p->conv ? p->channels : p->k) % 4 == 0, b_wide = p->n % 4 == 0;
    matmul_kernel kernel = {.shader = "matmul_cpu", .spec_count = 7, .rows = rows_on_cpu(p->m), .columns = 8 * limits->subgroup};
    const uint32_t spec[] = {limits->subgroup, limits->subgroup, kernel.rows, (uint32_t)p->act, p->conv, a_wide, b_wide};
    for (int i = 0; i < kernel.spec_count; i++) kernel.spec[i] = spec[i];
    return kernel;
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
    const bool a_wide = (p->conv ? p->channels : p->k) % 4 == 0, b_wide = p->n % 4 == 0;
    matmul_kernel kernel = {.shader = "matmul_tile", .spec_count = 9, .rows = tiles[i].rows, .columns = tiles[i].columns};
    const uint32_t spec[] = {tiles[i].threads, tiles[i].rows,     tiles[i].columns, tiles[i].high, tiles[i].wide,
                             (uint32_t)p->act, (uint32_t)p->conv, a_wide,           b_wide};
    for (int s = 0; s < kernel.spec_count; s++) kernel.spec[s] = spec[s];
    return kernel;
}

bool ts_vk_matmul_record(ts_vk_cmd *cmd, const ts_vk_matmul *p, ts_error *err)
{
    const ts_vk_limits *limits = ts_vk_limits_of(cmd);
    const matmul_kernel kernel = limits->cpu ? kernel_on_cpu(limits, p) : kernel_on_gpu(limits, p);
    matmul_push push = {.a = p->a,
                        .b = p->b,
                        .out = p->out,
                        .bias = p->bias,
                        .residual = p->residual,
                        .m = (uint32_t)p->m,
                        .n = (uint32_t)p->n,
                        .k = (uint32_t)p->k,
                        .panel = p->plain_b ? 0 : limits->panel,
                        .height = (uint32_t)p->height,
                        .width = (uint32_t)p->width,
                        .channels = (uint32_t)p->channels,
                        .out_height = (uint32_t)p->out_height,
                        .out_width = (uint32_t)p->out_width,
                        .kernel_w = (uint32_t)p->kernel_w,
                        .stride = (uint32_t)p->stride,
                        .top = p->top,
                        .left = p->left};
    ts_vk_dispatch_desc desc = {
        .shader = kernel.shader, .spec_count = kernel.spec_count, .push = &push, .push_bytes = sizeof push};
    for (int i = 0; i < kernel.spec_count; i++) desc.spec[i] = kernel.spec[i];
    desc.groups[1] = (uint32_t)ceil_div((uint64_t)p->n, kernel.columns);
    const double block_flops = 2.0 * kernel.rows * (double)p->n * (double)p->k; /* of a block of rows */
    const uint64_t blocks = ceil_div((uint64_t)p->m, kernel.rows);
    uint64_t most = block_flops < most_flops ? (uint64_t)(most_flops / block_flops) : 1;
    if (most > limits->max_groups[0]) most = limits->max_groups[0];
    for (uint64_t block = 0; block < blocks; block += most) {
        const uint64_t count = blocks - block < most ? blocks - block : most;
        push.first_row = (uint32_t)(block * kernel.rows);
        desc.groups[0] = (uint32_t)count;
        desc.flops = block_flops * (double)count;
        if (!ts_vk_dispatch(cmd, &desc, err)) return false;
    }
    return true;
}
