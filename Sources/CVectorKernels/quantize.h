#pragma once
// What the integer kernels share: how floats become small integers.
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE __attribute__((always_inline)) static inline
#define UNROLL _Pragma("clang loop unroll(full)")
#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#endif

// Where the scales and b of a record stand.
#define NUMBERS(shape) ((shape).D + ((shape).r + 2 * (shape).s + 2 * (shape).c) / 2)

// Bytes of a panel's step: 16 rows × 4 columns.
#define SAE_STEP 64

// The bits of infinity; above them stands every NaN.
#define NOT_FINITE 0x7f800000u

// The largest |x|, as its bits, so that a NaN is the largest of all and the order of comparisons cannot matter.
INLINE uint32_t largest_bits(const float *x, size_t count) {
    uint32_t largest = 0;
    for (size_t j = 0; j < count; j++) {
        uint32_t bits;
        memcpy(&bits, x + j, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

// The step of which |x| up to the largest are at most `levels`, and through `inverse` what they are multiplied by. Both
// are 0 where the step is below FLT_MIN or not finite.
INLINE float step_for(uint32_t largest, float levels, float *inverse) {
    float maximum;
    memcpy(&maximum, &largest, sizeof maximum);
    const float step = maximum / levels;
    const int usable = largest < NOT_FINITE && step >= FLT_MIN;
    *inverse = usable ? 1 / step : 0;
    return usable ? step : 0;
}

// x · inverse, rounded to nearest, into `count` elements of type T, `offset` added, and the offset alone behind them up
// to `padded`.
#define QUANTIZE(T, x, count, padded, inverse, offset, output)                                                         \
    do {                                                                                                               \
        if ((inverse) > 0)                                                                                             \
            for (size_t j = 0; j < (count); j++) (output)[j] = (T)((int)rintf((x)[j] * (inverse)) + (offset));         \
        else                                                                                                           \
            for (size_t j = 0; j < (count); j++) (output)[j] = (T)(offset);                                            \
        for (size_t j = (count); j < (padded); j++) (output)[j] = (T)(offset);                                         \
    } while (0)
