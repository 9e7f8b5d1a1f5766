// attention_grad.glsl - what the shaders of attention's gradient share. For one head, with s = scale q k^T, p = softmax(s) and y = p v:
//     dv = p^T dy,   ds = p (dy v^T - delta),   dq = scale ds k,   dk = scale ds^T q,   delta = rowsum(dy y)
// (Dao et al. 2022, arXiv 2205.14135, appendix B.2). The _q shaders own rows of q, find log(sum exp s) and delta of each, keep both in `stats` (image,
// head, tq, 2) and make dq; the _kv shaders own rows of k, and read them. p is made again wherever it is needed: nothing is added across workgroups.
// Push: q, dq (batch, tq, heads dim) at q_stride from row to row, k, v, dk, dv (batch, tk, heads dim) at k_stride, y and dy (batch, tq, heads dim)
// dense. Work is numbered by (image and head, block of the rows owned, part of their dimensions), the last fastest, `total` in all.
layout(push_constant, scalar) uniform Push {
    InReal q, k, v, y, dy;
    OutReal dq, dk, dv;
    Float stats;
    uint tq, tk, heads, dim, q_stride, k_stride, blocks, parts, total;
    uint causal;
    float scale;
};

const float LOWEST = -1e30; // below every score, and finite: the difference of two is no NaN

// Where this workgroup's image and head begin in q and dq, in k, v, dk and dv, in y and dy, and in stats.
struct Place {
    uint q, k, y, stats, block, part;
};

uint work_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

Place place(uint index)
{
    const uint item = index / (parts * blocks), image = item / heads, channel = item % heads * dim;
    return Place(image * tq * q_stride + channel, image * tk * k_stride + channel, image * tq * heads * dim + channel, item * tq * 2,
                 index / parts % blocks, index % parts);
}
