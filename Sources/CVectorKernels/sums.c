// Sums of int8 rows with coefficients of 8 bits, in integers: CVectorKernels.h says what is computed.
//
// Four rows at a time: their bytes are interleaved, so that one `vpdpbusd`, unsigned by signed, adds four products to each
// dimension's sum. AVX2 has no exact product of bytes (`vpmaddubsw` saturates), so there both sides are widened to 16 bits.
// Floor of 130 rows of 256: 33 groups × (16 loads, 32 interleavings, 16 `vpdpbusd`), 0.1 µs at four operations a cycle and
// 4 GHz, and 33 KB from the second level.
#include "CVectorKernels.h"
#include "quantize.h"

#pragma STDC FP_CONTRACT OFF

#define LEVELS 255

struct rows {
    const uint8_t *base;
    size_t stride, D;
    const uint8_t *scales;
    size_t scale_stride;
    const uint32_t *ids;
    const float *weights;  // NULL: ones
    size_t count;          // up to SAE_SUM_BLOCK
};

// Coefficients of a block as integers; with AVX-512, zeros behind them up to a multiple of 16.
struct coefficients {
    float step;
    uint8_t q[SAE_SUM_BLOCK];
};

// The step of a block, by the bits of its largest coefficient; false, and NaN in x, where one is not finite.
INLINE int find_step(const struct rows *rows, uint32_t largest, struct coefficients *coefficients, float *inverse, float *x) {
    coefficients->step = step_for(largest, LEVELS, inverse);
    if (largest < NOT_FINITE) return 1;
    for (size_t d = 0; d < rows->D; d++) x[d] = NAN;
    return 0;
}

INLINE int quantize(const struct rows *rows, struct coefficients *coefficients, float *x) {
    float c[SAE_SUM_BLOCK], inverse;
    for (size_t i = 0; i < rows->count; i++) {
        float scale;
        memcpy(&scale, rows->scales + (size_t)rows->ids[i] * rows->scale_stride, sizeof scale);
        c[i] = rows->weights ? rows->weights[i] * scale : scale;
    }
    if (!find_step(rows, largest_bits(c, rows->count), coefficients, &inverse, x)) return 0;
    for (size_t i = 0; i < rows->count; i++) {
        const int q = (int)rintf(c[i] * inverse);
        coefficients->q[i] = (uint8_t)(q > 0 ? q : 0);
    }
    return 1;
}

static void sum_reference(const struct rows *rows, float *x) {
    struct coefficients c;
    if (!quantize(rows, &c, x)) return;
    for (size_t d = 0; d < rows->D; d++) {
        int32_t sum = 0;
        for (size_t i = 0; i < rows->count; i++)
            sum += c.q[i] * (int8_t)rows->base[(size_t)rows->ids[i] * rows->stride + d];
        x[d] = fmaf(c.step, (float)sum, x[d]);
    }
}

#if defined(__x86_64__)
// 16 · `blocks` dimensions from d on.
INLINE AVX2 void block_avx2(const int blocks, const struct rows *rows, const struct coefficients *c, size_t d, float *x) {
    __m256i low[4], high[4];
    UNROLL for (int k = 0; k < blocks; k++) low[k] = high[k] = _mm256_setzero_si256();
    for (size_t i = 0; i < rows->count; i += 2) {
        const uint8_t *a = rows->base + (size_t)rows->ids[i] * rows->stride + d, *b = a;
        uint32_t second = 0;
        if (i + 1 < rows->count) b = rows->base + (size_t)rows->ids[i + 1] * rows->stride + d, second = c->q[i + 1];
        const __m256i factors = _mm256_set1_epi32((int)(c->q[i] | second << 16));
        UNROLL for (int k = 0; k < blocks; k++) {
            const __m256i one = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(a + 16 * k)));
            const __m256i other = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b + 16 * k)));
            low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(_mm256_unpacklo_epi16(one, other), factors));
            high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(_mm256_unpackhi_epi16(one, other), factors));
        }
    }
    const __m256 step = _mm256_set1_ps(c->step);
    UNROLL for (int k = 0; k < blocks; k++) {
        const __m256i first = _mm256_permute2x128_si256(low[k], high[k], 0x20);
        const __m256i second = _mm256_permute2x128_si256(low[k], high[k], 0x31);
        float *part = x + d + 16 * k;
        _mm256_storeu_ps(part, _mm256_fmadd_ps(step, _mm256_cvtepi32_ps(first), _mm256_loadu_ps(part)));
        _mm256_storeu_ps(part + 8, _mm256_fmadd_ps(step, _mm256_cvtepi32_ps(second), _mm256_loadu_ps(part + 8)));
    }
}

AVX2 static void sum_avx2(const struct rows *rows, float *x) {
    struct coefficients c;
    if (!quantize(rows, &c, x)) return;
    size_t d = 0;
    for (; d + 64 <= rows->D; d += 64) block_avx2(4, rows, &c, d, x);
    for (; d < rows->D; d += 16) block_avx2(1, rows, &c, d, x);
}

// Sixteen scales: single loads into the quarters of a vector are faster than a gather.
INLINE VNNI __m512 scales_vnni(const uint8_t *scales, size_t stride, const uint32_t *ids) {
    __m128 four[4];
    UNROLL for (size_t j = 0; j < 4; j++) {
        const float *scale[4];
        UNROLL for (size_t k = 0; k < 4; k++) scale[k] = (const float *)(scales + (size_t)ids[4 * j + k] * stride);
        const __m128 a = _mm_insert_ps(_mm_load_ss(scale[0]), _mm_load_ss(scale[1]), 0x10);
        four[j] = _mm_movelh_ps(a, _mm_insert_ps(_mm_load_ss(scale[2]), _mm_load_ss(scale[3]), 0x10));
    }
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_set_m128(four[1], four[0])), _mm256_set_m128(four[3], four[2]), 1);
}

INLINE VNNI int quantize_vnni(const struct rows *rows, struct coefficients *coefficients, float *x) {
    float c[SAE_SUM_BLOCK], inverse;
    __m512i largest = _mm512_setzero_si512();
    for (size_t i = 0; i < rows->count; i += 16) {
        const size_t left = rows->count - i;
        const __mmask16 inside = left < 16 ? (__mmask16)((1u << left) - 1) : (__mmask16)0xffff;
        // Row 0 stands behind the last one, with coefficient 0.
        uint32_t last[16] = {0};
        for (size_t j = 0; left < 16 && j < left; j++) last[j] = rows->ids[i + j];
        const uint32_t *ids = left < 16 ? last : rows->ids + i;
        __m512 part = rows->scale_stride == sizeof(float) ? scales_vnni(rows->scales, sizeof(float), ids)
                                                          : scales_vnni(rows->scales, rows->scale_stride, ids);
        part = _mm512_maskz_mov_ps(inside, part);
        if (rows->weights) part = _mm512_mul_ps(_mm512_maskz_loadu_ps(inside, rows->weights + i), part);
        _mm512_storeu_ps(c + i, part);
        largest = _mm512_max_epu32(largest, _mm512_castps_si512(_mm512_abs_ps(part)));
    }
    if (!find_step(rows, _mm512_reduce_max_epu32(largest), coefficients, &inverse, x)) return 0;
    for (size_t i = 0; i < rows->count; i += 16) {
        const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(c + i), _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)(coefficients->q + i), _mm512_cvtusepi32_epi8(_mm512_max_epi32(q, _mm512_setzero_si512())));
    }
    return 1;
}

// Four rows' products, added to the sums of 64 · `blocks` dimensions.
INLINE VNNI void add_group_vnni(const int blocks, const uint8_t *const row[4], __m512i factors, __mmask64 mask,
                                __m512i sums[4][4]) {
    UNROLL for (int k = 0; k < blocks; k++) {
        __m512i part[4];
        UNROLL for (int r = 0; r < 4; r++) part[r] = _mm512_maskz_loadu_epi8(mask, row[r] + 64 * k);
        const __m512i a = _mm512_unpacklo_epi8(part[0], part[1]), b = _mm512_unpacklo_epi8(part[2], part[3]);
        const __m512i c = _mm512_unpackhi_epi8(part[0], part[1]), e = _mm512_unpackhi_epi8(part[2], part[3]);
        sums[k][0] = _mm512_dpbusd_epi32(sums[k][0], factors, _mm512_unpacklo_epi16(a, b));
        sums[k][1] = _mm512_dpbusd_epi32(sums[k][1], factors, _mm512_unpackhi_epi16(a, b));
        sums[k][2] = _mm512_dpbusd_epi32(sums[k][2], factors, _mm512_unpacklo_epi16(c, e));
        sums[k][3] = _mm512_dpbusd_epi32(sums[k][3], factors, _mm512_unpackhi_epi16(c, e));
    }
}

// 64 · `blocks` dimensions from d on, those of `mask` in each.
INLINE VNNI void block_vnni(const int blocks, const struct rows *rows, const struct coefficients *c, size_t d,
                            __mmask64 mask, float *x) {
    __m512i sums[4][4];
    UNROLL for (int k = 0; k < blocks; k++)
        UNROLL for (int j = 0; j < 4; j++) sums[k][j] = _mm512_setzero_si512();
    const uint8_t *base = rows->base + d, *row[4];
    size_t i = 0;
    for (; i + 4 <= rows->count; i += 4) {
        UNROLL for (size_t r = 0; r < 4; r++) row[r] = base + (size_t)rows->ids[i + r] * rows->stride;
        int32_t bits;
        memcpy(&bits, c->q + i, sizeof bits);
        add_group_vnni(blocks, (const uint8_t *const *)row, _mm512_set1_epi32(bits), mask, sums);
    }
    if (i < rows->count) {
        // Behind the last row the coefficients are 0.
        for (size_t r = 0; r < 4; r++)
            row[r] = base + (size_t)rows->ids[i + r < rows->count ? i + r : i] * rows->stride;
        int32_t bits;
        memcpy(&bits, c->q + i, sizeof bits);
        add_group_vnni(blocks, (const uint8_t *const *)row, _mm512_set1_epi32(bits), mask, sums);
    }
    const __m512 step = _mm512_set1_ps(c->step);
    UNROLL for (int k = 0; k < blocks; k++) {
        // Lane l of sum j holds dimensions 16 l + 4 j to 16 l + 4 j + 3: a transposition of lanes.
        const __m512i *sum = sums[k];
        const __m512i a = _mm512_shuffle_i32x4(sum[0], sum[1], 0x44), b = _mm512_shuffle_i32x4(sum[2], sum[3], 0x44);
        const __m512i e = _mm512_shuffle_i32x4(sum[0], sum[1], 0xee), f = _mm512_shuffle_i32x4(sum[2], sum[3], 0xee);
        const __m512i dots[4] = {_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd),
                                 _mm512_shuffle_i32x4(e, f, 0x88), _mm512_shuffle_i32x4(e, f, 0xdd)};
        UNROLL for (int j = 0; j < 4; j++) {
            const __mmask16 inside = (__mmask16)(mask >> (16 * j));
            float *place = x + d + 64 * k + 16 * j;
            const __m512 old = _mm512_maskz_loadu_ps(inside, place);
            _mm512_mask_storeu_ps(place, inside, _mm512_fmadd_ps(step, _mm512_cvtepi32_ps(dots[j]), old));
        }
    }
}

VNNI static void sum_vnni(const struct rows *rows, float *x) {
    struct coefficients c;
    if (!quantize_vnni(rows, &c, x)) return;
    const __mmask64 all = ~(__mmask64)0;
    size_t d = 0;
    for (; d + 256 <= rows->D; d += 256) block_vnni(4, rows, &c, d, all, x);
    for (; d + 64 <= rows->D; d += 64) block_vnni(1, rows, &c, d, all, x);
    if (d < rows->D) block_vnni(1, rows, &c, d, ((__mmask64)1 << (rows->D - d)) - 1, x);
}
#endif

// `rows` holds them all; they are taken in blocks.
static void add(int set, struct rows rows, float *x) {
    (void)set;
    for (size_t left = rows.count; left > 0; left -= rows.count) {
        rows.count = left < SAE_SUM_BLOCK ? left : SAE_SUM_BLOCK;
        switch (set) {
#if defined(__x86_64__)
        case SAE_AVX512: sum_vnni(&rows, x); break;
        case SAE_AVX2: sum_avx2(&rows, x); break;
#endif
        default: sum_reference(&rows, x);
        }
        rows.ids += rows.count;
        if (rows.weights) rows.weights += rows.count;
    }
}

void sae_add_records(int set, struct sae_records records, const uint32_t *ids, const float *weights, size_t count,
                     float *x) {
    const uint8_t *scales = records.base + NUMBERS(records);
    add(set, (struct rows){records.base, records.stride, records.D, scales, records.stride, ids, weights, count}, x);
}

void sae_add_rows(int set, const int8_t *rows, const float *scales, size_t D, const uint32_t *ids, const float *weights,
                  size_t count, float *x) {
    add(set, (struct rows){(const uint8_t *)rows, D, D, (const uint8_t *)scales, sizeof(float), ids, weights, count}, x);
}

void sae_prefetch_records(struct sae_records records, const uint32_t *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *record = records.base + (size_t)ids[i] * records.stride;
        for (size_t line = 0; line < records.stride; line += 64) __builtin_prefetch(record + line);
    }
}
