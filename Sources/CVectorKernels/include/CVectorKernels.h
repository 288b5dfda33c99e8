#pragma once
#include <stddef.h>
#include <stdint.h>

#include "SAEFitting.h"
#include "SAEScoring.h"

// The engine's kernels (algorithm.md, sections 3 to 5). One source, `kernels.inc`, is compiled for each instruction set;
// all forms give the same bits, because every sum has a fixed order (16 lanes, each in the order of the items, then a
// fixed tree: lanes 8 apart, 4, 2, 1) and multiply-add is one fused operation everywhere. Nothing is checked: every id
// must have a row, and D, r, s, c are multiples of 16.

/// Instruction sets that a kernel may be asked for.
enum sae_instruction_set { SAE_REFERENCE = 0, SAE_AVX2 = 1, SAE_AVX512 = 2 };

/// The widest set that this processor has.
int sae_best_instruction_set(void);

/// Records of `stride` bytes: int8 parts E (D), q (r), m, k (s each), l, h (c each), then 7 floats: the scales of the
/// parts, and b.
struct sae_records {
    const uint8_t *base;
    size_t stride, D, r, s, c;
};

/// x[d] = fma(weights[i] · scale of E, E[d], x[d]) for the items i in order. `weights` NULL stands for ones.
void sae_add_records(int set, struct sae_records records, const uint32_t *ids, const float *weights, size_t count,
                     float *x);

/// The same for rows of `D` int8 with their scales in a column.
void sae_add_rows(int set, const int8_t *rows, const float *scales, size_t D, const uint32_t *ids, const float *weights,
                  size_t count, float *x);

/// weights[i] = exp(clamp(−E_i · inverse_temperature, −4, 4)), with u = P x̂ (r) and d (4 × s, offsets −2, −1, +1, +2):
/// −E_i = b + Σ lanes of (scale of q) · q ⊙ u + Σ_o (scale of m · scale of k) · d_o ⊙ m_i ⊙ k_{i+o}.
void sae_gate_weights(int set, struct sae_records records, const float *u, const float *d, float inverse_temperature,
                      const uint32_t *ids, size_t count, float *weights);

/// z[j] = fma(scale of l · scale of h, e_o[j] · (l[j] · h[j]), z[j]) for i in order and o = 1, 2, with l of item i and h of
/// item i + o. `e` is 2 × c.
void sae_add_couplings(int set, struct sae_records records, const float *e, const uint32_t *ids, size_t count, float *z);

/// x_t[d] = fma(f_t[j] · scales[j], rows[j][d], x_t[d]) for j in order: `sae_add_rows` of the first `count` rows for `texts`
/// texts, with x_t at x + t · D and their factors f_t at factors + t · factor_stride.
void sae_add_lifts(int set, const int8_t *rows, const float *scales, size_t count, size_t D, const float *factors,
                   size_t factor_stride, size_t texts, float *x);

/// output[a] = rows[a] · x, by float32 rows of `D`.
void sae_multiply_rows(int set, const float *rows, size_t count, size_t D, const float *x, float *output);

/// Σ x[d]², lane j adding dimensions j, j + 16, … in order, then the tree. D may be any size here and below.
float sae_sum_of_squares(const float *x, size_t D);

/// unit[d] = x[d] · (1 / sqrt(sum of squares)). 0, or -1 when the length or its inverse is zero or not finite (unit is
/// then zero).
/// `x` and `unit` may be the same.
int sae_normalize(const float *x, size_t D, float *unit);

/// x[d] = fma(coefficient, elements[d], x[d]): one step of the sums above, for the machine that goes word by word.
void sae_add_scaled(float coefficient, const float *elements, size_t D, float *x);

/// a · b in the lanes of `sae_sum_of_squares`, products and sums rounded separately.
float sae_dot(const float *a, const float *b, size_t D);
