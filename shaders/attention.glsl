// attention.glsl - what both attention shaders share: out = softmax(scale q k^T) v for one head, by a running maximum and sum over tiles of
// keys (Milakov and Gimelshein 2018, arXiv 1805.02867), so that the scores are never stored.
// Push: q (batch, tq, heads dim) at q_stride from row to row, k and v (batch, tk, heads dim) at k_stride, out (batch, tq, heads dim) dense.
// Work is numbered by (image and head, block of query rows, part of the output's dimensions), the last fastest, `total` in all.
layout(push_constant, scalar) uniform Push {
    InReal q, k, v;
    OutReal y;
    uint tq, tk, heads, dim, q_stride, k_stride, blocks, parts, total;
    uint causal;
    float scale;
};

const float LOWEST = -1e30; // below every score, and finite: the difference of two is no NaN

// Where this workgroup's image and head begin in q, in k and v, and in y.
struct Place {
    uint q, k, y, block, part;
};

uint work_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

Place place(uint index)
{
    const uint item = index / (parts * blocks), image = item / heads, channel = item % heads * dim;
    return Place(image * tq * q_stride + channel, image * tk * k_stride + channel, image * tq * heads * dim + channel,
                 index / parts % blocks, index % parts);
}
