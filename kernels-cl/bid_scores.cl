// bid_scores: the bids of context rules, bid[i][r] = max(0, K_r · F_i − θ_r).
//
//   features    n × k, row-major
//   panels      [⌈H / 16⌉][k][16]: column r % 16 of panel r / 16 is K_r; the last panel is padded with zeros
//   thresholds  ⌈H / 16⌉ · 16
//   bids        n × H, row-major
//
// One work-item computes a tile of 6 texts × 16 rules: global size (⌈n / 6⌉, ⌈H / 16⌉), n > 0, H > 0. A sum runs over
// j = 0 ... k − 1 in order, each step one fused multiply-add, whatever the tile: a text's bids do not depend on its
// batch. Texts behind the last one are computed as copies of it and not stored.
//
// Twin: `ReferenceScorer`. It rounds products and sums separately: `ReferenceScorer.tolerance` bounds the difference.

#pragma OPENCL FP_CONTRACT OFF

#define ROW(t) global const float *f##t = features + (size_t)min(first + t, n - 1) * k;                                \
    float8 low##t = 0, high##t = 0;
#define STEP(t) low##t = fma((float8)(f##t[j]), low, low##t);                                                          \
    high##t = fma((float8)(f##t[j]), high, high##t);
#define STORE(t) if (first + t < n) store_bids(low##t - low, high##t - high, r, H, bids + (size_t)(first + t) * H);

static void store_bids(float8 low, float8 high, uint r, uint H, global float *bids) {
    const float8 zero = 0;
    low = select(zero, low, low > zero);
    high = select(zero, high, high > zero);
    if (r + 16 <= H) {
        vstore8(low, 0, bids + r);
        vstore8(high, 1, bids + r);
        return;
    }
    float rest[16];
    vstore8(low, 0, rest);
    vstore8(high, 1, rest);
    for (uint c = 0; r + c < H; c++) bids[r + c] = rest[c];
}

kernel void bid_scores(const uint n, const uint k, const uint H, global const float *restrict features,
                       global const float *restrict panels, global const float *restrict thresholds,
                       global float *restrict bids) {
    const uint first = (uint)get_global_id(0) * 6, r = (uint)get_global_id(1) * 16;
    global const float *panel = panels + (size_t)r * k;
    ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5)
    for (uint j = 0; j < k; j++) {
        const float8 low = vload8(0, panel + (size_t)j * 16), high = vload8(1, panel + (size_t)j * 16);
        STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5)
    }
    const float8 low = vload8(0, thresholds + r), high = vload8(1, thresholds + r);
    STORE(0) STORE(1) STORE(2) STORE(3) STORE(4) STORE(5)
}

#undef ROW
#undef STEP
#undef STORE
