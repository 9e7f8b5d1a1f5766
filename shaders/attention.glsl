// attention.glsl - what both attention shaders share: out = softmax(scale q k^T) v for one head, by a running maximum and sum over tiles of
// keys (Milakov and Gimelshein 2018, arXiv 1805.02867), so that the scores are never stored.
// With RELATIVE keys are the places of a map of `map_width` columns, and key (y', x') gets added[y'] + added[map_height + x'] more; with BIASED key i gets
// added[i].
// Push: q (batch, tq, heads dim) at q_stride from row to row, k and v (batch, tk, heads dim) at k_stride, added (batch, tq, heads, map_height +
// map_width) or (heads, tq, tk), out (batch, tq, heads dim) dense.
// Specialisation: 4 RELATIVE, 5 BIASED.
// Work is numbered by (image and head, block of query rows, part of the output's dimensions), the last fastest, `total` in all.
layout(push_constant, scalar) uniform Push {
    InReal q, k, v, added;
    OutReal y;
    uint tq, tk, heads, dim, q_stride, k_stride, map_height, map_width, blocks, parts, total;
    uint causal;
    float scale;
};

layout(constant_id = 4) const bool RELATIVE = false;
layout(constant_id = 5) const bool BIASED = false;

const float LOWEST = -1e30; // below every score, and finite: the difference of two is no NaN

// Where this workgroup's image and head begin in q, in k and v, in y, and in `added`.
struct Place {
    uint q, k, y, added, block, part;
};

uint work_index()
{
    return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

Place place(uint index)
{
    const uint item = index / (parts * blocks), image = item / heads, channel = item % heads * dim;
    uint added_at = (image * tq * heads + item % heads) * (map_height + map_width);
    if (BIASED) added_at = item % heads * tq * tk;
    return Place(image * tq * q_stride + channel, image * tk * k_stride + channel, image * tq * heads * dim + channel,
                 added_at, index / parts % blocks, index % parts);
}

// What is added to a query row's score of a key; of rows and keys beyond the last something finite.
float added_score(Place at, uint row, uint key)
{
    if (BIASED) return float(added.v[at.added + min(row, tq - 1) * tk + min(key, tk - 1)]);
    const uint from = at.added + min(row, tq - 1) * heads * (map_height + map_width), y = min(key, tk - 1) / map_width;
    return float(added.v[from + y]) + float(added.v[from + map_height + min(key, tk - 1) - y * map_width]);
}
