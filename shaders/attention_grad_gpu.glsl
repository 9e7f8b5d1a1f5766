// attention_grad_gpu.glsl - the two products of attention's gradient on a GPU, for a workgroup of 128 that owns 32 rows (of q, or of k and v) and 64 of
// their dimensions, and meets the others 64 at a time. Both are tiles of 32 x 64 with 4 x 4 in the registers of an invocation, fed from shared memory
// 16 deep: own rows 4 ty + i, columns tx + 16 j. A head wider than 64 is cut in parts, each of which computes the scores again.
const uint THREADS = 128, ROWS = 32, COLS = 64, DIMS = 64, DEPTH = 16;
layout(local_size_x = THREADS) in;

// A pad of one after each row: transposing stores meet no bank twice.
const uint A = ROWS + 1, B = COLS + 1, S = ROWS + 1;
shared float a_tile[DEPTH * A]; // (dimension, own row)
shared float b_tile[DEPTH * B]; // (dimension, other row), then (other row, dimension)
shared float score[COLS * S];   // (other row, own row)

// `count` rows at `base`, `stride` from one to the next.
struct Rows {
    InReal at;
    uint base, stride, count;
};

void clear(out float s[4][4])
{
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) s[i][j] = 0.0;
}

// s = rows a_row.. of a times rows b_row.. of b, over all dimensions.
void products(Rows a, uint a_row, Rows b, uint b_row, out float s[4][4])
{
    const uint me = gl_LocalInvocationID.x, tx = me % 16, ty = me / 16;
    clear(s);
    for (uint depth = 0; depth < dim; depth += DEPTH) {
        barrier();
        for (uint i = me; i < ROWS * DEPTH; i += THREADS) {
            const uint d = i % DEPTH, r = i / DEPTH;
            const bool inside = depth + d < dim && a_row + r < a.count;
            a_tile[d * A + r] = inside ? float(a.at.v[a.base + (a_row + r) * a.stride + depth + d]) : 0.0;
        }
        for (uint i = me; i < COLS * DEPTH; i += THREADS) {
            const uint d = i % DEPTH, r = i / DEPTH;
            const bool inside = depth + d < dim && b_row + r < b.count;
            b_tile[d * B + r] = inside ? float(b.at.v[b.base + (b_row + r) * b.stride + depth + d]) : 0.0;
        }
        barrier();
        [[unroll]] for (uint d = 0; d < DEPTH; d++)
        {
            float x[4], y[4];
            [[unroll]] for (uint i = 0; i < 4; i++) x[i] = a_tile[d * A + ty * 4 + i];
            [[unroll]] for (uint j = 0; j < 4; j++) y[j] = b_tile[d * B + tx + 16 * j];
            [[unroll]] for (uint i = 0; i < 4; i++)
                [[unroll]] for (uint j = 0; j < 4; j++) s[i][j] = fma(x[i], y[j], s[i][j]);
        }
    }
}

// score = s, once nobody reads what was there.
void put(float s[4][4])
{
    const uint me = gl_LocalInvocationID.x, tx = me % 16, ty = me / 16;
    barrier();
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++) score[(tx + 16 * j) * S + ty * 4 + i] = s[i][j];
}

// acc += score times rows row.. of b, from dimension `first` on.
void accumulate(Rows b, uint row, uint first, inout float acc[4][4])
{
    const uint me = gl_LocalInvocationID.x, tx = me % 16, ty = me / 16;
    for (uint depth = 0; depth < COLS; depth += DEPTH) {
        barrier();
        for (uint i = me; i < DIMS * DEPTH; i += THREADS) {
            const uint d = i % DIMS, r = i / DIMS;
            const bool inside = first + d < dim && row + depth + r < b.count;
            b_tile[r * B + d] = inside ? float(b.at.v[b.base + (row + depth + r) * b.stride + first + d]) : 0.0;
        }
        barrier();
        [[unroll]] for (uint t = 0; t < DEPTH; t++)
        {
            float x[4], y[4];
            [[unroll]] for (uint i = 0; i < 4; i++) x[i] = score[(depth + t) * S + ty * 4 + i];
            [[unroll]] for (uint j = 0; j < 4; j++) y[j] = b_tile[t * B + tx + 16 * j];
            [[unroll]] for (uint i = 0; i < 4; i++)
                [[unroll]] for (uint j = 0; j < 4; j++) acc[i][j] = fma(x[i], y[j], acc[i][j]);
        }
    }
}

void store(OutReal to, uint base, uint stride, uint row, uint rows, uint first, float acc[4][4])
{
    const uint me = gl_LocalInvocationID.x, tx = me % 16, ty = me / 16;
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++)
        {
            const uint r = row + ty * 4 + i, d = first + tx + 16 * j;
            if (r < rows && d < dim) to.v[base + r * stride + d] = REAL(acc[i][j]);
        }
}
