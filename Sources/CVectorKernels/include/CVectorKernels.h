#pragma once
#include <stddef.h>
#include <stdint.h>

#include "SAEFitting.h"
#include "SAEScoring.h"

/// Instruction sets that a kernel may be asked for. The reference defines the bits; the others give the same,
/// because every dimension is summed alone, in item order, with a rounded product and a rounded sum.
enum sae_instruction_set { SAE_REFERENCE = 0, SAE_AVX2 = 1, SAE_AVX512 = 2 };

/// The widest set that this processor has.
int sae_best_instruction_set(void);

/// sum[d] = Σ_i (weights[i] · scales[ids[i]]) · rows[ids[i]][d], in float32, i ascending, product and sum rounded
/// separately. `rows` is row-major, `dimensions` int8 a row; `weights` NULL stands for ones. Nothing is
/// checked: every id must have a row.
void sae_gather_sum_i8(int instruction_set, const int8_t *rows, const float *scales, size_t dimensions,
                       const uint32_t *ids, const float *weights, size_t count, float *sum);

/// Σ x[d]², in 16 lanes: lane j adds dimensions j, j + 16, … in order; then lanes are added pairwise, 8 apart,
/// 4 apart, 2 apart, 1 apart.
float sae_sum_of_squares(const float *x, size_t dimensions);

/// unit[d] = x[d] / sqrt(sum of squares). 0, or -1 when the length is zero or not finite (unit is then zero).
/// `x` and `unit` may be the same.
int sae_normalize(const float *x, size_t dimensions, float *unit);

/// x[d] += coefficient · elements[d]: one step of the sum above, for the machine that goes word by word.
void sae_add_scaled(float coefficient, const float *elements, size_t dimensions, float *x);

/// a · b in the lanes of `sae_sum_of_squares`.
float sae_dot(const float *a, const float *b, size_t dimensions);
