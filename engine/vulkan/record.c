/* record.c - from the nodes of a plan to a list of dispatches, with the barriers that the data flow needs. The ops are asked
 * once; exec.c turns the list into command buffers, and may do so again when it knows the times. A barrier stands before a node
 * that reads what was written since the last barrier, or writes what was written or read: byte ranges are compared, because the
 * arena gives one place to several tensors. What a node changes in place counts as read and written. Parameters are watched where
 * they can be trained; the others no dispatch writes. */
#include "engine/vulkan/vk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- hazards ---- */

static bool overlaps(const ts_vk_ranges *r, ts_vk_range with)
{
    for (int i = 0; i < r->count; i++)
        if (r->list[i].begin < with.end && with.begin < r->list[i].end) return true;
    return false;
}

static bool add_range(ts_vk_ranges *r, ts_vk_range range, ts_error *err)
{
    if (r->count == r->room) {
        int room = r->room ? r->room * 2 : 16;
        ts_vk_range *grown = realloc(r->list, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory while recording a graph");
        r->list = grown;
        r->room = room;
    }
    r->list[r->count++] = range;
    return true;
}

void ts_vk_barrier(ts_vk_cmd *cmd)
{
    cmd->barrier = true;
    cmd->written.count = cmd->looked.count = 0;
}

/* The bytes that `t` takes on the device; empty for absent tensors and for parameters that never change. */
static ts_vk_range range_of(const ts_vk_cmd *cmd, const ts_tensor *t)
{
    const ts_tensor *root = ts_root_const(t);
    const ts_param_entry *param = root ? root->state->param : NULL;
    if (!root || (param && !param->owner->trainable)) return (ts_vk_range){0, 0};
    const uint64_t begin = ts_vk_address(cmd, root);
    return (ts_vk_range){begin, begin + (param ? param->bytes : root->state->bytes)};
}

/* What node `n` reads (in) and writes (out, scratch, and what of in it changes), one list after the other. */
typedef struct {
    ts_vk_range reads[TS_MAX_IN], writes[TS_MAX_OUT + 1 + TS_MAX_IN];
    int read_count, write_count;
} footprint;

static footprint footprint_of(const ts_vk_cmd *cmd, const ts_node *n)
{
    footprint f = {.read_count = n->nin};
    for (int i = 0; i < n->nin; i++) f.reads[i] = range_of(cmd, n->in[i]);
    for (int i = 0; i < n->nout; i++) f.writes[f.write_count++] = range_of(cmd, n->out[i]);
    f.writes[f.write_count++] = range_of(cmd, n->scratch);
    for (int i = 0; i < n->nin; i++)
        if (n->op->writes >> i & 1) f.writes[f.write_count++] = f.reads[i];
    return f;
}

static bool must_wait(const ts_vk_cmd *cmd, const footprint *f)
{
    for (int i = 0; i < f->read_count; i++)
        if (overlaps(&cmd->written, f->reads[i])) return true;
    for (int i = 0; i < f->write_count; i++)
        if (overlaps(&cmd->written, f->writes[i]) || overlaps(&cmd->looked, f->writes[i])) return true;
    return false;
}

static bool record_node(ts_vk_cmd *cmd, const ts_node *n, ts_error *err)
{
    const ts_tensor *all[TS_MAX_IN + TS_MAX_OUT + 1];
    int count = 0;
    for (int i = 0; i < n->nin; i++) all[count++] = n->in[i];
    for (int i = 0; i < n->nout; i++) all[count++] = n->out[i];
    all[count++] = n->scratch;
    for (int i = 0; i < count; i++)
        if (ts_count(all[i]) > INT32_MAX) /* the kernels count in 32 bits */
            return ts_fail(err, TS_ERR_UNSUPPORTED,
                           "%s: a tensor %s has more than 2^31 elements, which Vulkan kernels cannot index", n->op->name,
                           ts_shape_text(all[i]).s);
    if (!n->op->vulkan)
        return ts_fail(err, TS_ERR_UNSUPPORTED, "Vulkan cannot run %s on %s", n->op->name, ts_shape_text(n->in[0]).s);
    const footprint f = footprint_of(cmd, n);
    /* A profile times each node alone. */
    if (cmd->vk->dev->profile || must_wait(cmd, &f)) ts_vk_barrier(cmd);
    if (!n->op->vulkan(n, cmd, err)) return false;
    for (int i = 0; i < f.read_count; i++)
        if (!add_range(&cmd->looked, f.reads[i], err)) return false;
    for (int i = 0; i < f.write_count; i++)
        if (!add_range(&cmd->written, f.writes[i], err)) return false;
    return true;
}

bool ts_vk_record(ts_vk_cmd *cmd, const ts_exec *e, ts_error *err)
{
    for (cmd->node = 0; cmd->node < e->count; cmd->node++) {
        const ts_node *n = e->order[cmd->node];
        ts_error cause = {0};
        if (!record_node(cmd, n, &cause)) return ts_fail(err, cause.code, "%s%s%s", n->name, n->name[0] ? ": " : "", cause.text);
    }
    return true;
}

void ts_vk_cmd_clear(ts_vk_cmd *cmd)
{
    free(cmd->steps);
    free(cmd->written.list);
    free(cmd->looked.list);
    *cmd = (ts_vk_cmd){0};
}

/* ---- for the ops ---- */

/* Milliseconds that a dispatch may take, guessed from its work. A thread does a few hundred operations where nothing is said. */
static double guess_ms(const ts_vk *vk, const ts_vk_dispatch_desc *d)
{
    double threads = d->spec_count > 0 ? d->spec[0] : 1;
    for (int i = 0; i < 3; i++) threads *= d->groups[i] ? d->groups[i] : 1;
    double work = d->flops > 200 * threads ? d->flops : 200 * threads;
    return work / (vk->guess_gflops * 1e6);
}

bool ts_vk_dispatch(ts_vk_cmd *cmd, const ts_vk_dispatch_desc *desc, ts_error *err)
{
    if (desc->push_bytes > TS_VK_MAX_PUSH || desc->push_bytes % 4 != 0 || desc->spec_count > TS_VK_MAX_SPEC)
        return ts_fail(err, TS_ERR_ARGUMENT, "shader %s is given %u bytes and %d constants, more than fit", desc->shader,
                       desc->push_bytes, desc->spec_count);
    ts_vk_step step = {.push_bytes = desc->push_bytes, .barrier = cmd->barrier, .node = cmd->node, .ms = guess_ms(cmd->vk, desc)};
    for (int i = 0; i < 3; i++) {
        step.groups[i] = desc->groups[i] ? desc->groups[i] : 1;
        if (step.groups[i] > cmd->vk->limits.max_groups[i])
            return ts_fail(err, TS_ERR_UNSUPPORTED, "shader %s wants %u workgroups in one dimension, the device can do %u",
                           desc->shader, step.groups[i], cmd->vk->limits.max_groups[i]);
    }
    if (desc->push_bytes > 0) memcpy(step.push, desc->push, desc->push_bytes);
    if (!ts_vk_pipeline_get(cmd->vk, desc->shader, desc->wide, desc->spec, desc->spec_count, &step.pipeline, err)) return false;
    if (cmd->count == cmd->room) {
        int64_t room = cmd->room ? cmd->room * 2 : 64;
        ts_vk_step *grown = realloc(cmd->steps, (size_t)room * sizeof *grown);
        if (!grown) return ts_fail(err, TS_ERR_MEMORY, "out of memory while recording a graph");
        cmd->steps = grown;
        cmd->room = room;
    }
    cmd->steps[cmd->count++] = step;
    cmd->barrier = false;
    return true;
}

uint64_t ts_vk_address(const ts_vk_cmd *cmd, const ts_tensor *t)
{
    const ts_tensor *root = ts_root_const(t);
    if (!root) return 0;
    const ts_tensor_state *s = root->state;
    return s->param ? s->param->address : cmd->blocks[s->block].address + s->offset;
}

const ts_vk_limits *ts_vk_limits_of(const ts_vk_cmd *cmd)
{
    return &cmd->vk->limits;
}

/* Spreads `count` workgroups over x and y, because x alone may be limited to 65535. The last row of them may be too long. */
static void spread(const ts_vk_limits *limits, uint64_t count, uint32_t groups[3])
{
    uint64_t rows = (count + limits->max_groups[0] - 1) / limits->max_groups[0];
    if (rows == 0) rows = 1;
    uint64_t columns = (count + rows - 1) / rows;
    groups[0] = columns ? (uint32_t)columns : 1;
    groups[1] = rows > UINT32_MAX ? UINT32_MAX : (uint32_t)rows; /* too many are refused by the dispatch */
    groups[2] = 1;
}

static uint32_t width_of(const ts_vk_limits *limits)
{
    return limits->max_workgroup < 256 ? limits->max_workgroup : 256;
}

void ts_vk_rows(const ts_vk_cmd *cmd, int64_t rows, ts_vk_dispatch_desc *desc)
{
    const ts_vk_limits *l = &cmd->vk->limits;
    /* On the CPU one subgroup works alone: a barrier would cost more than the row. */
    uint32_t subgroups = l->cpu ? 1 : width_of(l) / l->subgroup;
    if (subgroups == 0) subgroups = 1;
    desc->spec[0] = subgroups * l->subgroup;
    desc->spec[1] = subgroups;
    if (desc->spec_count < 2) desc->spec_count = 2;
    spread(l, (uint64_t)rows, desc->groups);
}

void ts_vk_items(const ts_vk_cmd *cmd, int64_t count, ts_vk_dispatch_desc *desc)
{
    const ts_vk_limits *l = &cmd->vk->limits;
    desc->spec[0] = width_of(l);
    if (desc->spec_count < 1) desc->spec_count = 1;
    spread(l, ((uint64_t)count + desc->spec[0] - 1) / desc->spec[0], desc->groups);
}
