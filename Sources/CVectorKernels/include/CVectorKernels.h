#pragma once
#include <stddef.h>
#include <stdint.h>

#include "SAEFitting.h"
#include "SAEScoring.h"

// The engine's kernels (algorithm.md, sections 3 to 5), in a form for each instruction set. All forms give the same bits:
// a sum is either one of integers, exact and so the same in any order, or one of floats in a fixed order (lanes, each in the
// order of the items, then a fixed tree: 8 apart, 4, 2, 1), and multiply-add is one fused operation everywhere. Nothing is
// checked: every id must have a row, and D, r, s, c are multiples of 16.
//
// Coefficients become integers q by their largest: step = max|c| / levels, q = c · (1 / step) rounded to nearest, ties to
// even. Step and all q are 0 where the step is below FLT_MIN. A coefficient that is not finite makes the sum NaN.

/// Instruction sets that a kernel may be asked for. AVX-512 stands for F, BW, DQ, VL and VNNI.
enum sae_instruction_set { SAE_REFERENCE = 0, SAE_AVX2 = 1, SAE_AVX512 = 2 };

/// The widest set that this processor has.
int sae_best_instruction_set(void);

/// Records of `stride` bytes: E (D int8); q (r), m, k (s each), l, h (c each) in 4 bits an element; the scale of E (binary32);
/// the scales of q, m, k, l and h, and b (the upper halves of a binary32 each). Of 16 elements e, byte j < 8 holds e_j + 8
/// below and e_{j+8} + 8 above. `sae_fit_pack_record` writes them.
struct sae_records {
    const uint8_t *base;
    size_t stride, D, r, s, c;
};

/// Bytes of a record's scales and b.
#define SAE_RECORD_NUMBERS 16
/// Rows that are summed at once: more would let a sum leave 32 bits.
#define SAE_SUM_BLOCK 512
/// Ranks that a gate may have.
#define SAE_MAXIMUM_RANK 256
/// Columns that a packed matrix may have.
#define SAE_PRODUCT_COLUMNS 1024

/// x += Σ c_i · E_i with c_i = weights[i] · scale of E: in blocks of SAE_SUM_BLOCK items, in order,
/// x[d] = fma(step, (float)Σ q_i · E_i[d], x[d]), where q has 255 levels. `weights` NULL stands for ones. Coefficients are not
/// negative: one that is counts as 0.
void sae_add_records(int set, struct sae_records records, const uint32_t *ids, const float *weights, size_t count,
                     float *x);

/// The same for rows of `D` int8 with their scales in a column.
void sae_add_rows(int set, const int8_t *rows, const float *scales, size_t D, const uint32_t *ids, const float *weights,
                  size_t count, float *x);

/// Asks for records before they are needed.
void sae_prefetch_records(struct sae_records records, const uint32_t *ids, size_t count);

/// An int8 matrix in panels of 16 rows × 4 columns (`sae_bid_pack`): its numbers are int8 · scale of the row · scale of
/// the column. Scales that are NULL stand for ones.
struct sae_matrix {
    size_t rows, columns;
    const int8_t *panels;       // aligned to 64
    const int32_t *sums;        // of each row, padded to whole panels
    const float *row_scales;    // rows
    const float *column_scales; // columns
};

/// output[a] = fma(step · scale of row a, (float)Σ_j q_j · row_a[j], output[a]): q_j of 127 levels stands for
/// x[j] · scale of column j.
void sae_add_products(int set, const struct sae_matrix *matrix, const float *x, float *output);

/// weights[i] = exp(clamp(−E_i · inverse_temperature, −4, 4)), with u = P x̂ (r) and d (4 × s, offsets −2, −1, +1, +2):
/// −E_i = fma(scale of q · step, (float)Σ_j q_j · u_j, b) + tree of (scale of m · m_i) ⊙ Σ_o d_o ⊙ (scale of k · k_{i+o}),
/// where u is rounded to 127 levels, and the sum over o is fused, in order.
void sae_gate_weights(int set, struct sae_records records, const float *u, const float *d, float inverse_temperature,
                      const uint32_t *ids, size_t count, float *weights);

/// z = fma(e_2, z_2, e_1 · z_1) · factor, where z_o = Σ_i (scale of l · l_i) ⊙ (scale of h · h_{i+o}), fused, in order.
/// `e` is 2 × c.
void sae_couplings(int set, struct sae_records records, const float *e, float factor, const uint32_t *ids, size_t count,
                   float *z);

/// Σ x[d]²: 64 lanes, lane j adding dimensions j, j + 64, … fused, in order; lanes 32 apart, 16 apart, then the tree. D may
/// be any size here and below.
float sae_sum_of_squares(int set, const float *x, size_t D);

/// unit[d] = x[d] · (1 / sqrt(sum of squares)). 0, or -1 when the length or its inverse is zero or not finite (unit is
/// then zero).
/// `x` and `unit` may be the same.
int sae_normalize(int set, const float *x, size_t D, float *unit);

/// x[d] = fma(coefficient, elements[d], x[d]).
void sae_add_scaled(float coefficient, const float *elements, size_t D, float *x);

/// a · b: 16 lanes, lane j adding the products of dimensions j, j + 16, … in order, products and sums rounded separately,
/// then the tree.
float sae_dot(const float *a, const float *b, size_t D);
