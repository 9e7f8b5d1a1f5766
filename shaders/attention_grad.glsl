// attention_grad.glsl - what the shaders of attention's gradient share. For one head, with s = scale q k^T, p = softmax(s) and y = p v:
//     dv = p^T dy,   ds = p (dy v^T - delta),   dq = scale ds k,   dk = scale ds^T q,   delta = rowsum(dy y)
// (Dao et al. 2022, arXiv 2205.14135, appendix B.2). The _q shaders own rows of q, find log(sum exp s) and delta of each, keep both in `stats` (image,
// head, tq, 2) and make dq; the _kv shaders own rows of k, and read them. p is made again wherever it is needed: nothing is added across workgroups.
// With RELATIVE keys are the places of a map of `map_width` columns, s gets added[y'] + added[map height + x'] more for key (y', x'), and the _q
// shaders make the gradients of these too: for each query the sums of ds / scale over the keys of each row, then of each column. With BIASED s gets
// added[i] more for key i, whose gradient is attention_grad_bias.comp's.
// Push: q, dq (batch, tq, heads dim) and k, v, dk, dv (batch, tk, heads dim), all at `stride` from row to row, y and dy (batch, tq, heads dim) dense,
// added and drelative (batch, tq, heads, map height + map_width), or added (heads, tq, tk). Work is numbered by (image and head, block of the rows owned, part of their
// dimensions), the last fastest, `total` in all.
// Specialisation: 4 RELATIVE, 5 BIASED.
layout(push_constant, scalar) uniform Push {
    InReal q, k, v, added, y, dy;
    OutReal dq, dk, dv;
    Float drelative, stats;
    uint tq, tk, heads, dim, stride, blocks, parts, total;
    uint causal, map_width;
};

float scale = 1.0 / sqrt(float(dim)); // there is no room for it: 128 bytes is all that every device takes

layout(constant_id = 4) const bool RELATIVE = false;
layout(constant_id = 5) const bool BIASED = false;

const float LOWEST = -1e30; // below every score, and finite: the difference of two is no NaN

// Where this workgroup's image and head begin in q and dq, in k, v, dk and dv, in y and dy, in added and drelative, and in stats.
struct Place {
    uint q, k, y, added, stats, block, part;
};

uint work_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

// Numbers of relative positions that a query has, and where those of the columns begin.
uint map_height()
{
    if (RELATIVE) return tk / map_width;
    return 0;
}

uint relative_each()
{
    return map_height() + map_width;
}

Place place(uint index)
{
    const uint item = index / (parts * blocks), image = item / heads, channel = item % heads * dim;
    uint added_at = (image * tq * heads + item % heads) * relative_each();
    if (BIASED) added_at = item % heads * tq * tk;
    return Place(image * tq * stride + channel, image * tk * stride + channel, image * tq * heads * dim + channel,
                 added_at, item * tq * 2, index / parts % blocks, index % parts);
}

// What is added to a query row's score of a key; of rows and keys beyond the last something finite.
float added_score(Place at, uint row, uint key)
{
    if (BIASED) return float(added.v[at.added + min(row, tq - 1) * tk + min(key, tk - 1)]);
    const uint from = at.added + min(row, tq - 1) * heads * relative_each(), y = min(key, tk - 1) / map_width;
    return float(added.v[from + y]) + float(added.v[from + map_height() + min(key, tk - 1) - y * map_width]);
}

// drelative[number] += ds, or the first of its sum.
void add_relative(uint number, bool first, float ds)
{
    drelative.v[number] = first ? ds : drelative.v[number] + ds;
}
