/* test_vulkan_record.c - inside the Vulkan runtime: what is refused while a graph is recorded, where barriers stand, how
 * dispatches are spread, and that the validation layer listens. */
#include "../support/support.h"

#include <stdlib.h>
#include <string.h>

#ifdef TESSERA_VULKAN
#include "engine/vulkan/vk.h"

static ts_device *open_device(void)
{
    ts_error err = {0};
    if (!test_vulkan(TS_F32)) skip();
    const char *name = getenv("TESSERA_TEST_DEVICE");
    ts_device *dev = ts_device_open(&(ts_device_desc){.name = name ? name : "vulkan", .validate = true}, &err);
    if (!dev) fail_msg("%s", err.text);
    return dev;
}

static void close_device(ts_device *dev)
{
    const char *first;
    if (ts_device_validation(dev, &first) > 0) fail_msg("the validation layer says: %s", first);
    ts_device_free(dev);
}

static ts_exec *run_one(ts_device *dev, const ts_op *op, ts_graph **g, ts_error *err)
{
    *g = ts_graph_new();
    ts_tensor *x = ts_input(*g, "x", TS_REAL, 2, (int64_t[]){3, 5});
    ts_scope(*g, "block.7");
    ts_node *n = ts_node_new(*g, op, 1, &x, NULL, 0);
    ts_output(*g, ts_node_output(n, TS_REAL, 2, x->shape));
    return ts_exec_new(*g, dev, err);
}

static void unsupported_op(void **state)
{
    (void)state;
    ts_device *dev = open_device();
    ts_error err = {0};
    ts_graph *g;
    assert_null(run_one(dev, &(ts_op){.name = "teleport"}, &g, &err));
    assert_int_equal(err.code, TS_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "teleport"));
    assert_non_null(strstr(err.text, "(3, 5)"));
    assert_non_null(strstr(err.text, "block.7"));
    ts_graph_free(g);
    close_device(dev);
}

static bool no_such_shader(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    (void)n;
    return ts_vk_dispatch(cmd, &(ts_vk_dispatch_desc){.shader = "nowhere"}, err);
}

static bool too_many_groups(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    (void)n;
    return ts_vk_dispatch(cmd, &(ts_vk_dispatch_desc){.shader = "layernorm", .groups = {1, 1, UINT32_MAX}}, err);
}

static void refused_dispatches(void **state)
{
    (void)state;
    ts_device *dev = open_device();
    const ts_op ops[] = {{.name = "a", .vulkan = no_such_shader}, {.name = "b", .vulkan = too_many_groups}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        ts_error err = {0};
        ts_graph *g;
        assert_null(run_one(dev, &ops[i], &g, &err));
        assert_int_equal(err.code, TS_ERR_UNSUPPORTED);
        ts_graph_free(g);
    }
    close_device(dev);
}

/* Barriers stand where data flows, and nowhere else: y1 = f(x) and y2 = f(x) need none between them, z = f(y1) needs one, and u =
 * f(x) after it none. Then a place that is given to another tensor after it was read. */
static bool one_dispatch(const ts_node *n, ts_vk_cmd *cmd, ts_error *err)
{
    (void)n;
    return ts_vk_dispatch(cmd, &(ts_vk_dispatch_desc){.shader = "layernorm", .spec = {8, 1}, .spec_count = 2}, err);
}

static void barriers(void **state)
{
    (void)state;
    ts_device *dev = open_device();
    static const ts_op op = {.name = "step", .vulkan = one_dispatch};
    ts_graph *g = ts_graph_new();
    const int64_t shape[] = {64};
    ts_tensor *t[7] = {ts_input(g, "x", TS_REAL, 1, shape)};
    const int from[] = {-1, 0, 0, 1, 0, 4, 5};
    const bool waits[] = {false, false, false, true, false, true, true};
    ts_node *nodes[7] = {NULL};
    for (int i = 1; i < 7; i++) {
        nodes[i] = ts_node_new(g, &op, 1, &t[from[i]], NULL, 0);
        t[i] = ts_node_output(nodes[i], TS_REAL, 1, shape);
        t[i]->state->bytes = 256;
    }
    for (int i = 0; i < 7; i++) {
        t[i]->state->offset = (uint64_t)i * 256;
        t[i]->state->bytes = 256;
    }
    t[6]->state->offset = t[1]->state->offset; /* y1 is dead by then */
    ts_vk_buffer block = {.address = 4096};
    ts_vk_cmd cmd = {.vk = dev->impl, .blocks = &block};
    ts_exec e = {.graph = g, .dev = dev, .order = nodes + 1, .count = 6};
    ts_error err = {0};
    if (!ts_vk_record(&cmd, &e, &err)) fail_msg("%s", err.text);
    assert_int_equal(cmd.count, 6);
    for (int i = 1; i < 7; i++)
        if (cmd.steps[i - 1].barrier != waits[i]) fail_msg("a barrier is %s before step %d", waits[i] ? "missing" : "put", i);
    ts_vk_cmd_clear(&cmd);
    ts_graph_free(g);
    close_device(dev);
}

/* What is changed in place counts as written, also where it is a parameter that is trained: y = f(p), change p, change p, z =
 * f(p), u = f(x). */
static void barriers_in_place(void **state)
{
    (void)state;
    ts_device *dev = open_device();
    static const ts_op op = {.name = "step", .vulkan = one_dispatch},
                       change = {.name = "change", .writes = 1, .vulkan = one_dispatch};
    const int64_t shape[] = {64};
    for (int trained = 0; trained < 2; trained++) {
        ts_graph *g = ts_graph_new();
        ts_params owner = {.trainable = true};
        ts_param_entry entry = {.owner = &owner, .bytes = 256, .address = 1 << 20};
        ts_tensor *p = ts_input(g, "p", TS_REAL, 1, shape), *x = ts_input(g, "x", TS_REAL, 1, shape);
        if (trained) p->state->param = &entry;
        ts_tensor *const in[] = {p, p, p, p, x};
        const bool changes[] = {false, true, true, false, false}, waits[] = {false, true, true, true, false};
        ts_node *nodes[5];
        for (int i = 0; i < 5; i++) {
            nodes[i] = ts_node_new(g, changes[i] ? &change : &op, 1, &in[i], NULL, 0);
            if (!changes[i]) ts_node_output(nodes[i], TS_REAL, 1, shape);
        }
        for (int64_t i = 0; i < g->tensor_count; i++) {
            g->tensors[i]->state->offset = (uint64_t)i * 256;
            g->tensors[i]->state->bytes = 256;
        }
        ts_vk_buffer block = {.address = 4096};
        ts_vk_cmd cmd = {.vk = dev->impl, .blocks = &block};
        ts_exec e = {.graph = g, .dev = dev, .order = nodes, .count = 5};
        ts_error err = {0};
        if (!ts_vk_record(&cmd, &e, &err)) fail_msg("%s", err.text);
        for (int i = 0; i < 5; i++)
            if (cmd.steps[i].barrier != waits[i]) fail_msg("a barrier is %s before step %d", waits[i] ? "missing" : "put", i);
        ts_vk_cmd_clear(&cmd);
        ts_graph_free(g);
    }
    close_device(dev);
}

/* Rows and items cover what they should, also where x alone has no room. */
static void shapes_of_dispatches(void **state)
{
    (void)state;
    ts_vk vk = {.limits = {.subgroup = 32, .max_workgroup = 1024, .max_groups = {65535, 65535, 65535}}};
    ts_vk_cmd cmd = {.vk = &vk};
    const int64_t counts[] = {1, 255, 256, 257, 65535, 65536, 100000007, INT32_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (int cpu = 0; cpu < 2; cpu++) {
            vk.limits.cpu = cpu;
            ts_vk_dispatch_desc rows = {0}, items = {0};
            ts_vk_rows(&cmd, counts[i], &rows);
            ts_vk_items(&cmd, counts[i], &items);
            assert_int_equal(rows.spec[0], cpu ? 32 : 256);
            assert_int_equal(rows.spec[1], cpu ? 1 : 8);
            int64_t r = (int64_t)rows.groups[0] * rows.groups[1];
            int64_t n = (int64_t)items.groups[0] * items.groups[1] * items.spec[0];
            assert_true(r >= counts[i] && r < counts[i] + rows.groups[1]);
            assert_true(n >= counts[i] && n < counts[i] + (int64_t)items.spec[0] * (items.groups[1] + 1));
            assert_true(rows.groups[0] <= 65535 && rows.groups[1] <= 65535 && items.groups[0] <= 65535);
        }
    }
}

/* The layer is really there: a buffer of no size is an offence. */
static void the_layer_listens(void **state)
{
    (void)state;
    ts_device *dev = open_device();
    ts_vk *vk = dev->impl;
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT};
    VkBuffer buffer = VK_NULL_HANDLE;
    if (vk->api.CreateBuffer(vk->device, &info, NULL, &buffer) == VK_SUCCESS) vk->api.DestroyBuffer(vk->device, buffer, NULL);
    const char *first = NULL;
    assert_true(ts_device_validation(dev, &first) > 0);
    assert_non_null(first);
    ts_device_free(dev);
}

static void lost_device(void **state)
{
    (void)state;
    ts_error err = {0};
    assert_false(ts_vk_ok(VK_ERROR_DEVICE_LOST, "running a graph", &err));
    assert_int_equal(err.code, TS_ERR_DEVICE_LOST);
    err = (ts_error){0};
    assert_false(ts_vk_ok(VK_ERROR_OUT_OF_DEVICE_MEMORY, "a buffer", &err));
    assert_int_equal(err.code, TS_ERR_MEMORY);
    assert_true(ts_vk_ok(VK_SUCCESS, "all", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsupported_op),    cmocka_unit_test(refused_dispatches),     cmocka_unit_test(barriers),
        cmocka_unit_test(barriers_in_place), cmocka_unit_test(shapes_of_dispatches),   cmocka_unit_test(the_layer_listens),
        cmocka_unit_test(lost_device),       cmocka_unit_test(check_validation_silent)};
    return cmocka_run_group_tests_name("vulkan record", tests, NULL, NULL);
}
#else
int main(void)
{
    return 0; /* built without Vulkan */
}
#endif
