// Hot loops of fitting: see SAEFitting.h for what each computes. Of a text of n pieces the forward pass reads n rows
// and the update adds n gradients; the rows of a batch cost about 20 bytes × D of traffic each (row and two moments,
// read and written). Measured with 512 texts of 18 pieces a batch, D = 256, groups of 11, two AVX-512 cores: 230,000
// to 270,000 texts a second; without groups 400,000 to 480,000.
#include "include/SAEFitting.h"

#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

typedef float lanes __attribute__((vector_size(64)));
typedef float unaligned_lanes __attribute__((vector_size(64), aligned(4)));
typedef int8_t unaligned_bytes __attribute__((vector_size(16), aligned(1)));

#if defined(__x86_64__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST
#endif
#define LANES 16
#define UNSUITABLE(D) ((D) % LANES || (D) > SAE_FIT_MAXIMUM_DIMENSIONS)

#define LOAD(p) (*(const unaligned_lanes *)(p))
#define STORE(p, v) (*(unaligned_lanes *)(p) = (v))
#define WIDEN(p) __builtin_convertvector(*(const unaligned_bytes *)(p), lanes)

// The 16 lanes added pairwise in a fixed tree.
#define TREE(v)                                                                                                        \
    ((((v[0] + v[8]) + (v[4] + v[12])) + ((v[2] + v[10]) + (v[6] + v[14]))) +                                          \
     (((v[1] + v[9]) + (v[5] + v[13])) + ((v[3] + v[11]) + (v[7] + v[15]))))

// Into the caller's clone, so that it is compiled for the caller's instruction set.
#define INLINE __attribute__((always_inline)) static inline

INLINE float dot(const float *a, const float *b, size_t D) {
    lanes sum = {0};
    for (size_t d = 0; d < D; d += LANES) sum += LOAD(a + d) * LOAD(b + d);
    return TREE(sum);
}

INLINE void add_scaled(float *output, float scale, const float *values, size_t D) {
    for (size_t d = 0; d < D; d += LANES) STORE(output + d, LOAD(output + d) + LOAD(values + d) * scale);
}

// x̂ into `unit`; returns 1/|x|, or 0 where x = 0.
INLINE float unit_sum(const float *rows, size_t D, const struct sae_fit_texts *texts, uint32_t text, float *unit) {
    memset(unit, 0, D * sizeof(float));
    for (uint64_t i = texts->starts[text]; i < texts->starts[text + 1]; i++) {
        const float *row = rows + (size_t)texts->pieces[i] * D;
        for (size_t d = 0; d < D; d += LANES) STORE(unit + d, LOAD(unit + d) + LOAD(row + d));
    }
    const float norm = sqrtf(dot(unit, unit, D));
    const float inverse = norm > 0 ? 1 / norm : 0;
    for (size_t d = 0; d < D; d += LANES) STORE(unit + d, LOAD(unit + d) * inverse);
    return inverse;
}

WIDEST
void sae_fit_forward(const float *rows, size_t D, const struct sae_fit_texts *texts, const struct sae_fit_batch *batch,
                     size_t first, size_t last) {
    float targets[SAE_FIT_MAXIMUM_GROUP * SAE_FIT_MAXIMUM_DIMENSIONS];
    float inverses[SAE_FIT_MAXIMUM_GROUP];
    const size_t group = batch->group;
    if (UNSUITABLE(D) || group < 1 || group > SAE_FIT_MAXIMUM_GROUP) return;
    for (size_t begin = first * group; begin < last * group && begin < batch->count; begin += group) {
        const size_t size = batch->count - begin < group ? batch->count - begin : group;
        float *units = batch->units + begin * D;
        for (size_t i = 0; i < size; i++) {
            const uint32_t text = batch->order[begin + i];
            inverses[i] = unit_sum(rows, D, texts, text, units + i * D);
            const int8_t *target = texts->targets + (size_t)text * D;
            for (size_t d = 0; d < D; d += LANES)
                STORE(targets + i * D + d, WIDEN(target + d) * texts->target_scales[text]);
            batch->cosines[begin + i] = dot(units + i * D, targets + i * D, D);
            batch->differences[begin + i] = 0;
        }
        // The derivative by x̂ first: −t, and 2λ/(g − 1) · (x̂ᵢ·x̂ⱼ − tᵢ·tⱼ) · x̂ⱼ for each other one of the group.
        float *gradients = batch->gradients ? batch->gradients + begin * D : NULL;
        if (gradients)
            for (size_t d = 0; d < size * D; d += LANES) STORE(gradients + d, -LOAD(targets + d));
        for (size_t i = 1; i < size; i++) {
            for (size_t j = 0; j < i; j++) {
                const float difference =
                    dot(units + i * D, units + j * D, D) - dot(targets + i * D, targets + j * D, D);
                const float half = difference * difference / (float)(size - 1) / 2;
                batch->differences[begin + i] += half;
                batch->differences[begin + j] += half;
                if (!gradients) continue;
                const float factor = 2 * batch->similarity_weight * difference / (float)(size - 1);
                add_scaled(gradients + i * D, factor, units + j * D, D);
                add_scaled(gradients + j * D, factor, units + i * D, D);
            }
        }
        if (!gradients) continue;
        // Then by x: (I − x̂ x̂ᵀ)/|x|.
        for (size_t i = 0; i < size; i++) {
            float *gradient = gradients + i * D;
            const float *unit = units + i * D;
            const float along = dot(gradient, unit, D), inverse = inverses[i] > 0 ? inverses[i] : 1;
            for (size_t d = 0; d < D; d += LANES)
                STORE(gradient + d, (LOAD(gradient + d) - LOAD(unit + d) * along) * inverse);
        }
    }
}

WIDEST
void sae_fit_update(float *rows, size_t D, const struct sae_fit_texts *texts, const struct sae_fit_batch *batch,
                    const struct sae_fit_adam *adam, uint32_t part, uint32_t parts) {
    float sum[SAE_FIT_MAXIMUM_DIMENSIONS];
    if (UNSUITABLE(D) || parts < 1) return;
    uint32_t *heads = batch->heads, *next = batch->next;
    // Backwards, each occurrence put before those found already: the lists run forwards.
    for (size_t k = batch->count; k-- > 0;) {
        const uint64_t begin = texts->starts[batch->order[k]], end = texts->starts[batch->order[k] + 1];
        for (uint64_t i = end; i-- > begin;) {
            const uint32_t piece = texts->pieces[i];
            if ((piece >> 4) % parts != part) continue;
            const uint32_t at = batch->offsets[k] + (uint32_t)(i - begin);
            batch->owners[at] = (uint32_t)k;
            next[at] = heads[piece];
            heads[piece] = at;
        }
    }
    const float rate = adam->rate, beta1 = adam->beta1, beta2 = adam->beta2, epsilon = adam->epsilon;
    for (size_t k = 0; k < batch->count; k++) {
        for (uint64_t i = texts->starts[batch->order[k]]; i < texts->starts[batch->order[k] + 1]; i++) {
            const uint32_t piece = texts->pieces[i];
            if ((piece >> 4) % parts != part || heads[piece] == UINT32_MAX) continue;
            memset(sum, 0, D * sizeof(float));
            for (uint32_t at = heads[piece]; at != UINT32_MAX; at = next[at])
                add_scaled(sum, 1, batch->gradients + (size_t)batch->owners[at] * D, D);
            heads[piece] = UINT32_MAX;
            float *row = rows + (size_t)piece * D, *mean = adam->means + (size_t)piece * D,
                  *variance = adam->variances + (size_t)piece * D;
            for (size_t d = 0; d < D; d += LANES) {
                const lanes g = LOAD(sum + d);
                const lanes m = LOAD(mean + d) * beta1 + g * (1 - beta1);
                const lanes v = LOAD(variance + d) * beta2 + (g * g) * (1 - beta2);
                STORE(mean + d, m);
                STORE(variance + d, v);
                STORE(row + d, LOAD(row + d) - m * rate / (__builtin_elementwise_sqrt(v) + epsilon));
            }
        }
    }
}

WIDEST
void sae_fit_project(const struct sae_fit_texts *texts, size_t D, const uint32_t *order, size_t count,
                     const float *direction, float *output) {
    if (UNSUITABLE(D)) return;
    for (size_t i = 0; i < count; i++) {
        const int8_t *target = texts->targets + (size_t)order[i] * D;
        lanes sum = {0};
        for (size_t d = 0; d < D; d += LANES) sum += WIDEN(target + d) * LOAD(direction + d);
        output[i] = TREE(sum) * texts->target_scales[order[i]];
    }
}

float sae_fit_quantize_row(const float *row, size_t D, int8_t *output) {
    float largest = 0;
    for (size_t d = 0; d < D; d++) largest = fabsf(row[d]) > largest ? fabsf(row[d]) : largest;
    const float scale = largest / 127;
    const float inverse = scale > 0 ? 1 / scale : 0;
    for (size_t d = 0; d < D; d++) output[d] = (int8_t)rintf(row[d] * inverse);
    return scale;
}
