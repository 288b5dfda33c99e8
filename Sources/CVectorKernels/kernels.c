// The engine's kernels, compiled once for each instruction set from kernels.inc, and the choice between them.
//
// Floor of a text of 19 pieces at 256 dimensions: 2 × 19 × 16 conversions and multiply-adds of 16 lanes for the two sums,
// and a third of that for gates and couplings; 19 records of 8 cache lines, Zipf-distributed, mostly in the second level.
#include "CVectorKernels.h"
#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

typedef float lanes __attribute__((vector_size(64)));
typedef float unaligned_lanes __attribute__((vector_size(64), aligned(4)));
typedef int32_t integers __attribute__((vector_size(64)));
typedef int8_t unaligned_bytes __attribute__((vector_size(16), aligned(1)));

#define LOAD(p) (*(const unaligned_lanes *)(p))
#define STORE(p, v) (*(unaligned_lanes *)(p) = (v))
#define WIDEN(p) __builtin_convertvector(*(const unaligned_bytes *)(p), lanes)
#define SPLAT(v) ((lanes){0} + (v))
#define FMA(a, b, c) __builtin_elementwise_fma(a, b, c)

#define FORM(name) name##_reference
#define TARGET
#define BLOCK 4
#include "kernels.inc"
#undef FORM
#undef TARGET
#undef BLOCK

#if defined(__x86_64__)
#define FORM(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define BLOCK 4
#include "kernels.inc"
#undef FORM
#undef TARGET
#undef BLOCK
#define FORM(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define BLOCK 16
#include "kernels.inc"
#undef FORM
#undef TARGET
#undef BLOCK

int sae_best_instruction_set(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return SAE_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return SAE_AVX2;
    return SAE_REFERENCE;
}
#define CHOOSE(name, ...)                                                                                              \
    (set == SAE_AVX512 ? name##_avx512(__VA_ARGS__)                                                                    \
                       : set == SAE_AVX2 ? name##_avx2(__VA_ARGS__) : name##_reference(__VA_ARGS__))
#else
int sae_best_instruction_set(void) { return SAE_REFERENCE; }
#define CHOOSE(name, ...) name##_reference(__VA_ARGS__)
#endif

void sae_add_records(int set, struct sae_records records, const uint32_t *ids, const float *weights, size_t count,
                     float *x) {
    const uint8_t *scales = records.base + records.D + records.r + 2 * records.s + 2 * records.c;
    (void)set;
    CHOOSE(add, records.base, records.stride, scales, records.stride, records.D, ids, weights, count, x);
}

void sae_add_rows(int set, const int8_t *rows, const float *scales, size_t D, const uint32_t *ids, const float *weights,
                  size_t count, float *x) {
    (void)set;
    CHOOSE(add, (const uint8_t *)rows, D, (const uint8_t *)scales, sizeof(float), D, ids, weights, count, x);
}

void sae_gate_weights(int set, struct sae_records records, const float *u, const float *d, float inverse_temperature,
                      const uint32_t *ids, size_t count, float *weights) {
    (void)set;
    CHOOSE(gate, records, u, d, inverse_temperature, ids, count, weights);
}

void sae_add_couplings(int set, struct sae_records records, const float *e, const uint32_t *ids, size_t count, float *z) {
    (void)set;
    CHOOSE(couple, records, e, ids, count, z);
}

void sae_multiply_rows(int set, const float *rows, size_t count, size_t D, const float *x, float *output) {
    (void)set;
    CHOOSE(multiply, rows, count, D, x, output);
}

void sae_add_lifts(int set, const int8_t *rows, const float *scales, size_t count, size_t D, const float *factors,
                   size_t factor_stride, size_t texts, float *x) {
    (void)set;
    CHOOSE(lift, rows, scales, count, D, factors, factor_stride, texts, x);
}

float sae_dot(const float *a, const float *b, size_t D) {
    float lane[16] = {0};
    size_t d = 0;
    for (; d + 16 <= D; d += 16) {
        for (int j = 0; j < 16; j++) {
            float product = a[d + j] * b[d + j];
            lane[j] = lane[j] + product;
        }
    }
    for (int j = 0; d < D; d++, j++) {
        float product = a[d] * b[d];
        lane[j] = lane[j] + product;
    }
    for (int step = 8; step > 0; step /= 2) {
        for (int j = 0; j < step; j++) lane[j] = lane[j] + lane[j + step];
    }
    return lane[0];
}

float sae_sum_of_squares(const float *x, size_t D) { return sae_dot(x, x, D); }

int sae_normalize(const float *x, size_t D, float *unit) {
    const float length = sqrtf(sae_sum_of_squares(x, D)), inverse = 1 / length;
    if (!(length > 0) || isinf(length) || isinf(inverse)) {
        memset(unit, 0, D * sizeof *unit);
        return -1;
    }
    for (size_t d = 0; d < D; d++) unit[d] = x[d] * inverse;
    return 0;
}

void sae_add_scaled(float coefficient, const float *elements, size_t D, float *x) {
    for (size_t d = 0; d < D; d++) x[d] = fmaf(coefficient, elements[d], x[d]);
}
