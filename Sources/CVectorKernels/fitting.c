// Hot loops of fitting: see SAEFitting.h for what each computes. A text of n pieces costs 2·n·D additions, and the
// rows of a batch about 20 bytes × D of traffic each for the row, its two moments and their writing back.
#include "include/SAEFitting.h"

#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

typedef float lanes __attribute__((vector_size(64)));
typedef float unaligned_lanes __attribute__((vector_size(64), aligned(4)));
typedef int8_t bytes16 __attribute__((vector_size(16), aligned(1)));

#if defined(__x86_64__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif
#define LANES 16
#define MAX_DIMENSIONS 4096

#define LOAD(p) (*(const unaligned_lanes *)(p))
#define STORE(p, v) (*(unaligned_lanes *)(p) = (v))

// The 16 lanes added pairwise in a fixed tree.
#define TREE(v)                                                                                                        \
    ((((v[0] + v[8]) + (v[4] + v[12])) + ((v[2] + v[10]) + (v[6] + v[14]))) +                                          \
     (((v[1] + v[9]) + (v[5] + v[13])) + ((v[3] + v[11]) + (v[7] + v[15]))))

WIDEST
void sae_fit_forward(const float *rows, size_t D, const struct sae_fit_texts *texts, const uint32_t *order,
                     size_t first, size_t last, float *cosines, float *gradients) {
    float x[MAX_DIMENSIONS], y[MAX_DIMENSIONS];
    if (D > MAX_DIMENSIONS || D % LANES) return;
    for (size_t k = first; k < last; k++) {
        const uint32_t t = order[k];
        const float scale = texts->target_scales[t];
        const int8_t *target = texts->targets + (size_t)t * D;
        memset(x, 0, D * sizeof(float));
        for (uint64_t i = texts->starts[t]; i < texts->starts[t + 1]; i++) {
            const float *row = rows + (size_t)texts->pieces[i] * D;
            for (size_t d = 0; d < D; d += LANES) STORE(x + d, LOAD(x + d) + LOAD(row + d));
        }
        lanes squares = {0}, products = {0};
        for (size_t d = 0; d < D; d += LANES) {
            const lanes xd = LOAD(x + d);
            const lanes yd = __builtin_convertvector(*(const bytes16 *)(target + d), lanes) * scale;
            STORE(y + d, yd);
            squares += xd * xd;
            products += xd * yd;
        }
        const float norm = sqrtf(TREE(squares));
        const float inverse = norm > 0 ? 1 / norm : 0;
        const float cosine = TREE(products) * inverse;
        cosines[k] = cosine;
        if (!gradients) continue;
        float *gradient = gradients + k * D;
        const float outer = norm > 0 ? inverse : 1, inner = cosine * inverse * outer;
        for (size_t d = 0; d < D; d += LANES) STORE(gradient + d, LOAD(x + d) * inner - LOAD(y + d) * outer);
    }
}

// x rounded to the nearest integer, half to even, for |x| < 2^22: adding and taking away 1.5 · 2^23 leaves no place
// for a fraction.
#define ROUND(v) (((v) + 12582912.0f) - 12582912.0f)

__attribute__((always_inline)) static inline float largest_magnitude(const float *row, size_t D) {
    lanes largest = {0};
    for (size_t d = 0; d < D; d += LANES)
        largest = __builtin_elementwise_max(largest, __builtin_elementwise_abs(LOAD(row + d)));
    float result = 0;
    for (int j = 0; j < LANES; j++) result = largest[j] > result ? largest[j] : result;
    return result;
}

WIDEST
void sae_fit_update(float *rows, float *means, float *variances, float *quantized, size_t D,
                    const struct sae_fit_texts *texts, const uint32_t *order, size_t count, const float *gradients,
                    const uint32_t *offsets, struct sae_fit_scratch scratch, struct sae_fit_adam adam, uint32_t part,
                    uint32_t parts) {
    const uint32_t none = UINT32_MAX;
    float sum[MAX_DIMENSIONS];
    if (D > MAX_DIMENSIONS || D % LANES || !parts) return;
    // Backwards, each occurrence before those found already: the lists run forwards.
    for (size_t k = count; k-- > 0;) {
        const uint64_t begin = texts->starts[order[k]], end = texts->starts[order[k] + 1];
        for (uint64_t i = end; i-- > begin;) {
            const uint32_t piece = texts->pieces[i];
            if (parts > 1 && (piece >> 4) % parts != part) continue;
            const uint32_t at = offsets[k] + (uint32_t)(i - begin);
            scratch.owner[at] = (uint32_t)k;
            scratch.next[at] = scratch.heads[piece];
            scratch.heads[piece] = at;
        }
    }
    for (size_t k = 0; k < count; k++) {
        for (uint64_t i = texts->starts[order[k]]; i < texts->starts[order[k] + 1]; i++) {
            const uint32_t piece = texts->pieces[i];
            if (parts > 1 && (piece >> 4) % parts != part) continue;
            uint32_t at = scratch.heads[piece];
            if (at == none) continue;  // done at its first occurrence
            scratch.heads[piece] = none;
            memset(sum, 0, D * sizeof(float));
            for (; at != none; at = scratch.next[at]) {
                const float *gradient = gradients + (size_t)scratch.owner[at] * D;
                for (size_t d = 0; d < D; d += LANES) STORE(sum + d, LOAD(sum + d) + LOAD(gradient + d));
            }
            float *row = rows + (size_t)piece * D, *mean = means + (size_t)piece * D,
                  *variance = variances + (size_t)piece * D;
            for (size_t d = 0; d < D; d += LANES) {
                const lanes g = LOAD(sum + d);
                const lanes m = LOAD(mean + d) * adam.beta1 + g * (1 - adam.beta1);
                const lanes v = LOAD(variance + d) * adam.beta2 + (g * g) * (1 - adam.beta2);
                STORE(mean + d, m);
                STORE(variance + d, v);
                STORE(row + d, LOAD(row + d) - adam.rate * m / (__builtin_elementwise_sqrt(v) + adam.epsilon));
            }
            if (!quantized) continue;
            const float scale = largest_magnitude(row, D) / 127;
            const float inverse = scale > 0 ? 1 / scale : 0;
            float *rounded = quantized + (size_t)piece * D;
            for (size_t d = 0; d < D; d += LANES) STORE(rounded + d, ROUND(LOAD(row + d) * inverse) * scale);
        }
    }
}

float sae_fit_quantize_row(const float *row, size_t D, int8_t *output) {
    float largest = 0;
    for (size_t d = 0; d < D; d++) largest = fabsf(row[d]) > largest ? fabsf(row[d]) : largest;
    const float scale = largest / 127;
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (size_t d = 0; d < D; d++) output[d] = (int8_t)ROUND(row[d] * inverse);
    return scale;
}
