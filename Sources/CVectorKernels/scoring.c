// Bids of context rules in int8: SAEScoring.h says what is computed.
//
// Layout: 16 rules × 4 features are 64 bytes, one vector of AVX-512. A tile is 6 texts × 4 panels, 24 accumulators: a
// step of 4 features costs 6 broadcasts, 4 loads and 24 `vpdpbusd`, which multiply unsigned by signed. The features
// are stored with 128 added for it, and 128 · Σ K_r is taken off the accumulator beforehand; all of it is exact modulo
// 2^32. AVX2 has no exact product of bytes (`vpmaddubsw` saturates), so there both sides are widened to 16 bits.
// Floor at k = 320, H = 512: 2,560 `vpdpbusd` of 64 products a text, 0.3 µs at two a cycle and 4 GHz. A single text
// reads 164 KB of rules: 0.6 µs at 64 bytes a cycle from the second-level cache.
// AMX multiplies 16 texts × 64 features by 64 features × 16 rules at once, in 16 cycles: a quarter of the time of VNNI.
#include "SAEScoring.h"
#include "quantize.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")))
#endif

#pragma STDC FP_CONTRACT OFF

#define STEP SAE_STEP
// Texts that a tile holds.
#define SAE_BID_TILE 16

// Where the bids go: all of them, or the rules that fired.
struct output {
    float *bids;
    uint32_t *indices;  // null: all
    uint32_t *counts;
    size_t stride;
};

void sae_bid_pack(const int8_t *rows, size_t H, size_t k, int8_t *panels, int32_t *sums) {
    const size_t steps = SAE_BID_PADDED_FEATURES(k) / 4, padded = SAE_BID_PADDED_RULES(H);
    memset(panels, 0, padded * steps * 4);
    memset(sums, 0, padded * sizeof *sums);
    for (size_t r = 0; r < H; r++) {
        int8_t *panel = panels + r / SAE_BID_PANEL * steps * STEP + r % SAE_BID_PANEL * 4;
        for (size_t j = 0; j < k; j++) {
            panel[j / 4 * STEP + j % 4] = rows[r * k + j];
            sums[r] += rows[r * k + j];
        }
    }
}

// The scale of a text, and through `inverse` what its features are multiplied by.
INLINE float feature_scale(const float *features, size_t k, float *inverse) {
    return step_for(largest_bits(features, k), 127, inverse);
}

INLINE float bid(float scale, float rule_scale, int32_t dot, float threshold) {
    const float product = (scale * rule_scale) * (float)dot;
    const float margin = product - threshold;
    return margin > 0 ? margin : 0;
}

// Writes up to 16 bids of a text, rules r ..< r + width.
INLINE void emit(const struct output *output, size_t text, size_t r, const float *bids, size_t width) {
    float *row = output->bids + text * output->stride;
    if (!output->indices) {
        memcpy(row + r, bids, width * sizeof *bids);
        return;
    }
    uint32_t *indices = output->indices + text * output->stride;
    uint32_t count = output->counts[text];
    for (size_t j = 0; j < width; j++) {
        indices[count] = (uint32_t)(r + j);
        row[count] = bids[j];
        count += bids[j] > 0;
    }
    output->counts[text] = count;
}

static void bids_reference(const struct sae_bid_rules *rules, const float *features, size_t n, int8_t *quantized,
                           const struct output *output) {
    const size_t k = rules->k, steps = SAE_BID_PADDED_FEATURES(k) / 4;
    for (size_t i = 0; i < n; i++) {
        float inverse;
        const float *row = features + i * k;
        const float scale = feature_scale(row, k, &inverse);
        QUANTIZE(int8_t, row, k, SAE_BID_PADDED_FEATURES(k), inverse, 0, quantized);
        for (size_t r = 0; r < rules->H; r += SAE_BID_PANEL) {
            const int8_t *panel = rules->panels + r / SAE_BID_PANEL * steps * STEP;
            int32_t dots[SAE_BID_PANEL] = {0};
            for (size_t step = 0; step < steps; step++) {
                const int8_t *q = quantized + step * 4, *rule = panel + step * STEP;
                for (size_t c = 0; c < SAE_BID_PANEL; c++)
                    for (size_t j = 0; j < 4; j++) dots[c] += q[j] * rule[c * 4 + j];
            }
            float bids[SAE_BID_PANEL];
            for (size_t c = 0; c < SAE_BID_PANEL; c++)
                bids[c] = bid(scale, rules->scales[r + c], dots[c], rules->thresholds[r + c]);
            emit(output, i, r, bids, rules->H - r < SAE_BID_PANEL ? rules->H - r : SAE_BID_PANEL);
        }
    }
}

#if defined(__x86_64__)
// `texts` × 8 rules: the sums of rules r ..< r + 8.
INLINE AVX2 void tile_avx2(const int texts, const struct sae_bid_rules *rules, size_t r, const int16_t *quantized,
                           const float *scales, size_t first, const struct output *output) {
    const size_t padded = SAE_BID_PADDED_FEATURES(rules->k), steps = padded / 4;
    const int8_t *panel = rules->panels + r / SAE_BID_PANEL * steps * STEP + r % SAE_BID_PANEL * 4;
    __m256i low[4], high[4];
    UNROLL for (int t = 0; t < texts; t++) low[t] = high[t] = _mm256_setzero_si256();
    for (size_t step = 0; step < steps; step++) {
        const __m128i *block = (const __m128i *)(panel + step * STEP);
        const __m256i four = _mm256_cvtepi8_epi16(_mm_loadu_si128(block));
        const __m256i next = _mm256_cvtepi8_epi16(_mm_loadu_si128(block + 1));
        UNROLL for (int t = 0; t < texts; t++) {
            int64_t bits;
            memcpy(&bits, quantized + (size_t)t * padded + step * 4, sizeof bits);
            const __m256i text = _mm256_set1_epi64x(bits);
            low[t] = _mm256_add_epi32(low[t], _mm256_madd_epi16(four, text));
            high[t] = _mm256_add_epi32(high[t], _mm256_madd_epi16(next, text));
        }
    }
    const size_t width = rules->H - r < 8 ? rules->H - r : 8;
    UNROLL for (int t = 0; t < texts; t++) {
        // Each rule has two partial sums side by side.
        const __m256i dots = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low[t], high[t]), 0xd8);
        const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(scales[t]), _mm256_loadu_ps(rules->scales + r));
        const __m256 product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(dots));
        const __m256 margin = _mm256_sub_ps(product, _mm256_loadu_ps(rules->thresholds + r));
        float bids[8];
        _mm256_storeu_ps(bids, _mm256_max_ps(margin, _mm256_setzero_ps()));
        if (!output->indices || _mm256_movemask_ps(_mm256_cmp_ps(margin, _mm256_setzero_ps(), _CMP_GT_OQ)))
            emit(output, first + (size_t)t, r, bids, width);
    }
}

AVX2 static void bids_avx2(const struct sae_bid_rules *rules, const float *features, size_t n, int16_t *quantized,
                           const struct output *output) {
    const size_t k = rules->k, padded = SAE_BID_PADDED_FEATURES(k);
    float scales[SAE_BID_BLOCK];
    for (size_t i = 0; i < n; i++) {
        float inverse;
        scales[i] = feature_scale(features + i * k, k, &inverse);
        QUANTIZE(int16_t, features + i * k, k, padded, inverse, 0, quantized + i * padded);
    }
    for (size_t r = 0; r < rules->H; r += 8) {
        size_t i = 0;
        for (; i + 4 <= n; i += 4) tile_avx2(4, rules, r, quantized + i * padded, scales + i, i, output);
        if (n - i >= 2) tile_avx2(2, rules, r, quantized + i * padded, scales + i, i, output), i += 2;
        if (n - i >= 1) tile_avx2(1, rules, r, quantized + i * padded, scales + i, i, output);
    }
}

// The bids of a text for the rules of panel p.
INLINE VNNI void emit_vnni(const struct sae_bid_rules *rules, size_t p, __m512i dots, float text_scale, size_t text,
                           const struct output *output) {
    const size_t r = p * SAE_BID_PANEL, width = rules->H - r < 16 ? rules->H - r : 16;
    const __mmask16 inside = (__mmask16)(0xffffu >> (16 - width));
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(text_scale), _mm512_loadu_ps(rules->scales + r));
    const __m512 product = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(dots));
    const __m512 margin = _mm512_sub_ps(product, _mm512_loadu_ps(rules->thresholds + r));
    float *row = output->bids + text * output->stride;
    if (!output->indices) {
        _mm512_mask_storeu_ps(row + r, inside, _mm512_max_ps(margin, _mm512_setzero_ps()));
        return;
    }
    const __mmask16 fired = _mm512_mask_cmp_ps_mask(inside, margin, _mm512_setzero_ps(), _CMP_GT_OQ);
    const uint32_t count = output->counts[text];
    const __m512i numbers = _mm512_add_epi32(
        _mm512_set1_epi32((int)r), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    // Whole vectors: a text's part holds whole panels, so that they fit. A store of chosen lanes is slow.
    _mm512_storeu_si512(output->indices + text * output->stride + count, _mm512_maskz_compress_epi32(fired, numbers));
    _mm512_storeu_ps(row + count, _mm512_maskz_compress_ps(fired, margin));
    output->counts[text] = count + (uint32_t)__builtin_popcount(fired);
}

// What 128, added to each feature, adds to the sums of panel p, negative.
INLINE VNNI __m512i offset_vnni(const struct sae_bid_rules *rules, size_t p) {
    const __m512i total = _mm512_loadu_si512(rules->sums + p * SAE_BID_PANEL);
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(total, 7));
}

// `texts` × 16 · `panels` rules from panel p on.
INLINE VNNI void tile_vnni(const int texts, const int panels, const struct sae_bid_rules *rules, size_t p,
                           const uint8_t *quantized, const float *scales, size_t first, const struct output *output) {
    const size_t steps = SAE_BID_PADDED_FEATURES(rules->k) / 4, stride = SAE_BID_STRIDE(rules->k);
    const int8_t *panel = rules->panels + p * steps * STEP;
    __m512i sums[6][8];
    UNROLL for (int q = 0; q < panels; q++) {
        const __m512i offset = offset_vnni(rules, p + (size_t)q);
        UNROLL for (int t = 0; t < texts; t++) sums[t][q] = offset;
    }
    for (size_t step = 0; step < steps; step++) {
        __m512i rule[8];
        UNROLL for (int q = 0; q < panels; q++)
            rule[q] = _mm512_loadu_si512(panel + ((size_t)q * steps + step) * STEP);
        UNROLL for (int t = 0; t < texts; t++) {
            int32_t bits;
            memcpy(&bits, quantized + (size_t)t * stride + step * 4, sizeof bits);
            const __m512i text = _mm512_set1_epi32(bits);
            UNROLL for (int q = 0; q < panels; q++) sums[t][q] = _mm512_dpbusd_epi32(sums[t][q], text, rule[q]);
        }
    }
    UNROLL for (int q = 0; q < panels; q++)
        UNROLL for (int t = 0; t < texts; t++)
            emit_vnni(rules, p + (size_t)q, sums[t][q], scales[t], first + (size_t)t, output);
}

INLINE VNNI void texts_vnni(const int panels, const struct sae_bid_rules *rules, size_t p, const uint8_t *quantized,
                            const float *scales, size_t n, const struct output *output) {
    const size_t stride = SAE_BID_STRIDE(rules->k);
    size_t i = 0;
    for (; i + 6 <= n; i += 6) tile_vnni(6, panels, rules, p, quantized + i * stride, scales + i, i, output);
    if (n - i >= 4) tile_vnni(4, panels, rules, p, quantized + i * stride, scales + i, i, output), i += 4;
    if (n - i >= 2) tile_vnni(2, panels, rules, p, quantized + i * stride, scales + i, i, output), i += 2;
    if (n - i >= 1) tile_vnni(1, panels, rules, p, quantized + i * stride, scales + i, i, output);
}

// Features as bytes, 128 added, and the scales of n texts. Behind a row's features stand zeros up to its stride: what a
// tile multiplies beyond the end of a panel counts nothing.
INLINE VNNI void quantize_vnni(const struct sae_bid_rules *rules, const float *features, size_t n, uint8_t *quantized,
                               float *scales) {
    const size_t k = rules->k, stride = SAE_BID_STRIDE(k);
    for (size_t i = 0; i < n; i++) {
        float inverse;
        scales[i] = feature_scale(features + i * k, k, &inverse);
        QUANTIZE(uint8_t, features + i * k, k, k, inverse, 128, quantized + i * stride);
        memset(quantized + i * stride + k, 0, stride - k);
    }
}

// The bids of n texts whose features are bytes.
INLINE VNNI void multiply_vnni(const struct sae_bid_rules *rules, const uint8_t *quantized, const float *scales, size_t n,
                               const struct output *output) {
    const size_t panels = SAE_BID_PADDED_RULES(rules->H) / SAE_BID_PANEL;
    size_t p = 0;
    // A text alone: eight accumulators, to have enough products under way.
    if (n == 1)
        for (; p + 8 <= panels; p += 8) tile_vnni(1, 8, rules, p, quantized, scales, 0, output);
    for (; p + 4 <= panels; p += 4) texts_vnni(4, rules, p, quantized, scales, n, output);
    for (; p < panels; p++) texts_vnni(1, rules, p, quantized, scales, n, output);
}

VNNI static void bids_vnni(const struct sae_bid_rules *rules, const float *features, size_t n, uint8_t *quantized,
                           const struct output *output) {
    float scales[SAE_BID_BLOCK];
    quantize_vnni(rules, features, n, quantized, scales);
    multiply_vnni(rules, quantized, scales, n, output);
}

// 16 texts × 16 · `panels` rules, 1 or 4, from panel p on. A panel is what `tdpbusd` wants its second matrix to be: 16
// steps of it are a tile of 64 features. The last tile may reach beyond the panel, where the features are zeros.
INLINE AMX void tile_amx(const int panels, const struct sae_bid_rules *rules, size_t p, const uint8_t *quantized,
                         const float *scales, size_t first, const struct output *output) {
    const size_t bytes = SAE_BID_PADDED_FEATURES(rules->k) / 4 * STEP, stride = SAE_BID_STRIDE(rules->k);
    const int8_t *panel = rules->panels + p * bytes;
    _Alignas(64) int32_t dots[4][SAE_BID_TILE][SAE_BID_PANEL];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t j = 0; j < stride; j += 64) {
        const int8_t *rule = panel + j * SAE_BID_PANEL;
        _tile_loadd(4, quantized + j, stride);
        _tile_loadd(5, rule, STEP);
        _tile_dpbusd(0, 4, 5);
        if (panels == 1) continue;
        _tile_loadd(6, rule + bytes, STEP);
        _tile_dpbusd(1, 4, 6);
        _tile_loadd(7, rule + 2 * bytes, STEP);
        _tile_dpbusd(2, 4, 7);
        _tile_loadd(5, rule + 3 * bytes, STEP);
        _tile_dpbusd(3, 4, 5);
    }
    _tile_stored(0, dots[0], STEP);
    if (panels == 4) {
        _tile_stored(1, dots[1], STEP);
        _tile_stored(2, dots[2], STEP);
        _tile_stored(3, dots[3], STEP);
    }
    UNROLL for (int q = 0; q < panels; q++) {
        const __m512i offset = offset_vnni(rules, p + (size_t)q);
        for (size_t t = 0; t < SAE_BID_TILE; t++)
            emit_vnni(rules, p + (size_t)q, _mm512_add_epi32(_mm512_load_si512(dots[q][t]), offset), scales[t],
                      first + t, output);
    }
}

AMX static void bids_amx(const struct sae_bid_rules *rules, const float *features, size_t n, uint8_t *quantized,
                         const struct output *output) {
    const size_t panels = SAE_BID_PADDED_RULES(rules->H) / SAE_BID_PANEL, stride = SAE_BID_STRIDE(rules->k);
    const size_t tiled = n / SAE_BID_TILE * SAE_BID_TILE;
    float scales[SAE_BID_BLOCK];
    quantize_vnni(rules, features, n, quantized, scales);
    if (tiled) {
        // Palette 1: eight tiles of 16 rows of 64 bytes.
        struct { uint8_t palette, row, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } config = {.palette = 1};
        for (int tile = 0; tile < 8; tile++) config.bytes[tile] = 64, config.rows[tile] = 16;
        _tile_loadconfig(&config);
        size_t p = 0;
        for (; p + 4 <= panels; p += 4)
            for (size_t i = 0; i < tiled; i += SAE_BID_TILE)
                tile_amx(4, rules, p, quantized + i * stride, scales + i, i, output);
        for (; p < panels; p++)
            for (size_t i = 0; i < tiled; i += SAE_BID_TILE)
                tile_amx(1, rules, p, quantized + i * stride, scales + i, i, output);
        // The system saves no tiles of a thread that holds none.
        _tile_release();
    }
    struct output rest = *output;
    rest.bids += tiled * output->stride;
    if (output->indices) rest.indices += tiled * output->stride, rest.counts += tiled;
    if (tiled < n) multiply_vnni(rules, quantized + tiled * stride, scales + tiled, n - tiled, &rest);
}

// Whether the processor has tiles and the system lets this process use them: Linux wants to be asked once.
static int tiles_allowed(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 24) || !(d & 1u << 25)) return 0;
#if defined(__linux__)
    const long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return 0;
#endif
}

int sae_bid_best_form(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        return tiles_allowed() ? SAE_BID_AMX : SAE_BID_VNNI;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? SAE_BID_AVX2 : SAE_BID_REFERENCE;
}
#else
int sae_bid_best_form(void) { return SAE_BID_REFERENCE; }
#endif

static void bids_in_blocks(int form, const struct sae_bid_rules *rules, const float *features, size_t n, void *scratch,
                           struct output output) {
    for (size_t begin = 0; begin < n; begin += SAE_BID_BLOCK) {
        const size_t count = n - begin < SAE_BID_BLOCK ? n - begin : SAE_BID_BLOCK;
        const float *block = features + begin * rules->k;
        struct output part = output;
        part.bids += begin * output.stride;
        if (output.indices) {
            part.indices += begin * output.stride;
            part.counts += begin;
            memset(part.counts, 0, count * sizeof *part.counts);
        }
        switch (form) {
#if defined(__x86_64__)
        case SAE_BID_AMX: bids_amx(rules, block, count, scratch, &part); break;
        case SAE_BID_VNNI: bids_vnni(rules, block, count, scratch, &part); break;
        case SAE_BID_AVX2: bids_avx2(rules, block, count, scratch, &part); break;
#endif
        default: bids_reference(rules, block, count, scratch, &part);
        }
    }
}

void sae_bid_scores_i8(int form, const struct sae_bid_rules *rules, const float *features, size_t n, void *scratch,
                       float *bids) {
    bids_in_blocks(form, rules, features, n, scratch, (struct output){bids, NULL, NULL, rules->H});
}

void sae_bid_fired_i8(int form, const struct sae_bid_rules *rules, const float *features, size_t n, void *scratch,
                      uint32_t *indices, float *bids, uint32_t *counts) {
    bids_in_blocks(form, rules, features, n, scratch,
                   (struct output){bids, indices, counts, sae_bid_fired_stride(rules->H)});
}

void sae_bid_collect(const float *bids, size_t H, uint32_t *indices, float *fired, uint32_t *count) {
    const struct output output = {fired, indices, count, 0};
    *count = 0;
    for (size_t r = 0; r < H; r += SAE_BID_PANEL)
        emit(&output, 0, r, bids + r, H - r < SAE_BID_PANEL ? H - r : SAE_BID_PANEL);
}
