// A packed int8 matrix times a vector that is rounded to int8: CVectorKernels.h says what is computed.
//
// Panels and arithmetic are those of scoring.c; here a text is alone, so four steps at a time have sums of their own.
// Floor of 64 × 256: 256 `vpdpbusd` and 16 KB from the first level, 0.03 µs.
#include "CVectorKernels.h"
#include "quantize.h"

#pragma STDC FP_CONTRACT OFF

struct product {
    const struct sae_matrix *matrix;
    size_t steps;
    const float *x;
    float *output;
};

// The step of x as integers; NaN into the output, where a number is not finite. What the integers are made of is x, or, where
// columns have scales, written to `scaled`.
INLINE float scale_columns(const struct product *product, const float **x, float *scaled, float *inverse) {
    const struct sae_matrix *matrix = product->matrix;
    *x = product->x;
    if (matrix->column_scales) {
        for (size_t j = 0; j < matrix->columns; j++) scaled[j] = product->x[j] * matrix->column_scales[j];
        *x = scaled;
    }
    const uint32_t largest = largest_bits(*x, matrix->columns);
    if (largest >= NOT_FINITE)
        for (size_t row = 0; row < matrix->rows; row++) product->output[row] = NAN;
    return step_for(largest, 127, inverse);
}

INLINE void add_product(const struct product *product, float step, size_t row, int32_t dot) {
    const float *scales = product->matrix->row_scales;
    product->output[row] = fmaf(scales ? step * scales[row] : step, (float)dot, product->output[row]);
}

static void add_reference(const struct product *product) {
    const struct sae_matrix *matrix = product->matrix;
    int8_t q[SAE_PRODUCT_COLUMNS];
    float inverse, scaled[SAE_PRODUCT_COLUMNS];
    const float *x;
    const float step_size = scale_columns(product, &x, scaled, &inverse);
    QUANTIZE(int8_t, x, matrix->columns, product->steps * 4, inverse, 0, q);
    for (size_t row = 0; row < matrix->rows; row++) {
        const int8_t *panel = matrix->panels + row / 16 * product->steps * SAE_STEP + row % 16 * 4;
        int32_t dot = 0;
        for (size_t step = 0; step < product->steps; step++)
            for (size_t j = 0; j < 4; j++) dot += q[step * 4 + j] * panel[step * SAE_STEP + j];
        add_product(product, step_size, row, dot);
    }
}

#if defined(__x86_64__)
AVX2 static void add_avx2(const struct product *product) {
    const struct sae_matrix *matrix = product->matrix;
    int16_t q[SAE_PRODUCT_COLUMNS];
    float inverse, scaled[SAE_PRODUCT_COLUMNS];
    const float *x;
    const float step_size = scale_columns(product, &x, scaled, &inverse);
    QUANTIZE(int16_t, x, matrix->columns, product->steps * 4, inverse, 0, q);
    for (size_t row = 0; row < matrix->rows; row += 8) {
        const int8_t *panel = matrix->panels + row / 16 * product->steps * SAE_STEP + row % 16 * 4;
        __m256i low = _mm256_setzero_si256(), high = low;
        for (size_t step = 0; step < product->steps; step++) {
            const __m128i *block = (const __m128i *)(panel + step * SAE_STEP);
            int64_t bits;
            memcpy(&bits, q + step * 4, sizeof bits);
            const __m256i text = _mm256_set1_epi64x(bits);
            low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(block)), text));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128(block + 1)), text));
        }
        int32_t dots[8];
        _mm256_storeu_si256((__m256i *)dots, _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), 0xd8));
        for (size_t r = 0; r < 8 && row + r < matrix->rows; r++) add_product(product, step_size, row + r, dots[r]);
    }
}

INLINE VNNI void tile_vnni(const int panels, const struct product *product, const uint8_t *q, float step, size_t p) {
    const struct sae_matrix *matrix = product->matrix;
    const int8_t *panel = matrix->panels + p * product->steps * SAE_STEP;
    __m512i sums[4][4];
    UNROLL for (int k = 0; k < panels; k++) {
        const __m512i total = _mm512_loadu_si512(matrix->sums + (p + (size_t)k) * 16);
        sums[k][0] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(total, 7));
        sums[k][1] = sums[k][2] = sums[k][3] = _mm512_setzero_si512();
    }
    size_t s = 0;
    for (; s + 4 <= product->steps; s += 4) {
        UNROLL for (size_t u = 0; u < 4; u++) {
            int32_t bits;
            memcpy(&bits, q + (s + u) * 4, sizeof bits);
            const __m512i text = _mm512_set1_epi32(bits);
            UNROLL for (int k = 0; k < panels; k++)
                sums[k][u] = _mm512_dpbusd_epi32(
                    sums[k][u], text, _mm512_loadu_si512(panel + ((size_t)k * product->steps + s + u) * SAE_STEP));
        }
    }
    for (; s < product->steps; s++) {
        int32_t bits;
        memcpy(&bits, q + s * 4, sizeof bits);
        const __m512i text = _mm512_set1_epi32(bits);
        UNROLL for (int k = 0; k < panels; k++)
            sums[k][0] = _mm512_dpbusd_epi32(
                sums[k][0], text, _mm512_loadu_si512(panel + ((size_t)k * product->steps + s) * SAE_STEP));
    }
    UNROLL for (int k = 0; k < panels; k++) {
        const size_t row = (p + (size_t)k) * 16, left = matrix->rows - row;
        const __mmask16 inside = left < 16 ? (__mmask16)((1u << left) - 1) : (__mmask16)0xffff;
        const __m512i dots = _mm512_add_epi32(_mm512_add_epi32(sums[k][0], sums[k][1]),
                                              _mm512_add_epi32(sums[k][2], sums[k][3]));
        __m512 scale = _mm512_set1_ps(step);
        if (matrix->row_scales) scale = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(inside, matrix->row_scales + row));
        const __m512 old = _mm512_maskz_loadu_ps(inside, product->output + row);
        _mm512_mask_storeu_ps(product->output + row, inside, _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dots), old));
    }
}

VNNI static void add_vnni(const struct product *product) {
    const size_t columns = product->matrix->columns, panels = (product->matrix->rows + 15) / 16;
    uint8_t q[SAE_PRODUCT_COLUMNS];
    float inverse, scaled[SAE_PRODUCT_COLUMNS];
    const float *x;
    const float step = scale_columns(product, &x, scaled, &inverse);
    QUANTIZE(uint8_t, x, columns, product->steps * 4, inverse, 128, q);
    size_t p = 0;
    for (; p + 4 <= panels; p += 4) tile_vnni(4, product, q, step, p);
    for (; p < panels; p++) tile_vnni(1, product, q, step, p);
}
#endif

void sae_add_products(int set, const struct sae_matrix *matrix, const float *x, float *output) {
    const struct product product = {matrix, (matrix->columns + 3) / 4, x, output};
    switch (set) {
#if defined(__x86_64__)
    case SAE_AVX512: add_vnni(&product); break;
    case SAE_AVX2: add_avx2(&product); break;
#endif
    default: add_reference(&product);
    }
}
