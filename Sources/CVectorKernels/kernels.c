// The engine's float kernels, compiled once for each instruction set from kernels.inc, and the choice between them.
#include "CVectorKernels.h"
#include "quantize.h"

#pragma STDC FP_CONTRACT OFF

typedef float lanes __attribute__((vector_size(64)));
typedef float half __attribute__((vector_size(32)));
typedef float quarter __attribute__((vector_size(16)));
typedef float unaligned_lanes __attribute__((vector_size(64), aligned(4)));
typedef int32_t integers __attribute__((vector_size(64)));
typedef uint8_t eight __attribute__((vector_size(8)));
typedef uint8_t unaligned_eight __attribute__((vector_size(8), aligned(1)));
typedef uint8_t sixteen __attribute__((vector_size(16)));
typedef int8_t signed_sixteen __attribute__((vector_size(16)));

#define LOAD(p) (*(const unaligned_lanes *)(p))
#define STORE(p, v) (*(unaligned_lanes *)(p) = (v))
// The 16 elements of 4 bits in 8 bytes, as floats.
#define NIBBLES(p)                                                                                                     \
    __extension__({                                                                                                    \
        const eight packed = *(const unaligned_eight *)(p), low = packed & 15, high = packed >> 4;                     \
        const sixteen both = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); \
        __builtin_convertvector((signed_sixteen)(both - 8), lanes);                                                    \
    })
#define SPLAT(v) ((v) - (lanes){0})
#define FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
// By lane: a where the mask is set, b elsewhere.
#define CHOOSE_LANES(mask, a, b) ((lanes)(((mask) & (integers)(a)) | (~(mask) & (integers)(b))))
#define LOW(v) __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define HIGH(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
// Of two vectors' groups of 16, 8, 4 or 2 lanes, the first halves (at 0) or the second.
#define EIGHTS(a, b, at)                                                                                               \
    __builtin_shufflevector(a, b, (at), (at) + 1, (at) + 2, (at) + 3, (at) + 4, (at) + 5, (at) + 6, (at) + 7,          \
                            (at) + 16, (at) + 17, (at) + 18, (at) + 19, (at) + 20, (at) + 21, (at) + 22, (at) + 23)
#define FOURS(a, b, at)                                                                                                \
    __builtin_shufflevector(a, b, (at), (at) + 1, (at) + 2, (at) + 3, (at) + 8, (at) + 9, (at) + 10, (at) + 11,        \
                            (at) + 16, (at) + 17, (at) + 18, (at) + 19, (at) + 24, (at) + 25, (at) + 26, (at) + 27)
#define TWOS(a, b, at)                                                                                                 \
    __builtin_shufflevector(a, b, (at), (at) + 1, (at) + 16, (at) + 17, (at) + 4, (at) + 5, (at) + 20, (at) + 21,      \
                            (at) + 8, (at) + 9, (at) + 24, (at) + 25, (at) + 12, (at) + 13, (at) + 28, (at) + 29)
#define ONES(a, b, at)                                                                                                 \
    __builtin_shufflevector(a, b, (at), (at) + 2, (at) + 16, (at) + 18, (at) + 4, (at) + 6, (at) + 20, (at) + 22,      \
                            (at) + 8, (at) + 10, (at) + 24, (at) + 26, (at) + 12, (at) + 14, (at) + 28, (at) + 30)

// Number `index` of a record's numbers of 16 bits.
INLINE float short_float(const uint8_t *numbers, size_t index) {
    uint16_t half;
    memcpy(&half, numbers + sizeof(float) + 2 * index, sizeof half);
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define FORM(name) name##_reference
#define TARGET
#define HAS_VNNI 0
#include "kernels.inc"
#undef FORM
#undef TARGET
#undef HAS_VNNI
#undef TREES

#if defined(__x86_64__)
#define FORM(name) name##_avx2
#define TARGET AVX2
#define HAS_VNNI 0
#include "kernels.inc"
#undef FORM
#undef TARGET
#undef HAS_VNNI
#undef TREES
#define FORM(name) name##_avx512
#define TARGET VNNI
#define HAS_VNNI 1
#include "kernels.inc"
#undef FORM
#undef TARGET
#undef HAS_VNNI
#undef TREES

int sae_best_instruction_set(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
        return SAE_AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? SAE_AVX2 : SAE_REFERENCE;
}
#define CHOOSE(name, ...)                                                                                              \
    (set == SAE_AVX512 ? name##_avx512(__VA_ARGS__)                                                                    \
                       : set == SAE_AVX2 ? name##_avx2(__VA_ARGS__) : name##_reference(__VA_ARGS__))
#else
int sae_best_instruction_set(void) { return SAE_REFERENCE; }
#define CHOOSE(name, ...) ((void)set, name##_reference(__VA_ARGS__))
#endif

void sae_gate_weights(int set, struct sae_records records, const float *u, const float *d, float inverse_temperature,
                      const uint32_t *ids, size_t count, float *weights) {
    CHOOSE(gate, records, u, d, inverse_temperature, ids, count, weights);
}

void sae_couplings(int set, struct sae_records records, const float *e, float factor, const uint32_t *ids, size_t count,
                   float *z) {
    CHOOSE(couple, records, e, factor, ids, count, z);
}

float sae_sum_of_squares(int set, const float *x, size_t D) { return CHOOSE(squares, x, D); }

int sae_normalize(int set, const float *x, size_t D, float *unit) { return CHOOSE(normalize, x, D, unit); }

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

void sae_add_scaled(float coefficient, const float *elements, size_t D, float *x) {
    for (size_t d = 0; d < D; d++) x[d] = fmaf(coefficient, elements[d], x[d]);
}
