#pragma once
// The hot loops of fitting a bag lexicon. Every sum has a fixed order (16 lanes, then a fixed tree; occurrences in
// the order of the texts) and products are never fused with additions, so that a fit gives the same bits with any
// number of threads and any instruction set. `D`, the dimensions of a row, is a multiple of 16 in all of them.
#include <stddef.h>
#include <stdint.h>

/// Texts as columns: the pieces of text t are `pieces[starts[t] ..< starts[t + 1]]`; its target is the int8 row t of
/// `targets` (texts × D) times `target_scales[t]`, a unit vector.
struct sae_fit_texts {
    const uint32_t *pieces;
    const uint64_t *starts;
    const int8_t *targets;
    const float *target_scales;
};

/// For k in first ..< last, with t = order[k]: x = Σ rows[p] over the pieces of t, cosines[k] = x̂ · target, and
/// unless `gradients` is null, gradients[k] (D floats) = −(target − cosine · x̂) / |x|, the derivative of
/// 1 − cosine by x. A text whose sum is zero gets cosine 0 and its gradient −target.
void sae_fit_forward(const float *rows, size_t D, const struct sae_fit_texts *texts, const uint32_t *order,
                     size_t first, size_t last, float *cosines, float *gradients);

/// One Adam step's numbers: `rate` includes the schedule and the bias corrections of the moments.
struct sae_fit_adam {
    float rate, beta1, beta2, epsilon;
};

/// The memory of one step, shared by the parts of one update: `heads` has one entry a row and is all UINT32_MAX
/// between steps; `next` and `owner` one entry an occurrence in the batch.
struct sae_fit_scratch {
    uint32_t *heads, *next, *owner;
};

/// Updates the rows of the batch order[0 ..< count] that belong to `part` of `parts` (blocks of 16 rows in turn): the
/// gradient of row p is Σ gradients[k] over the occurrences of p, in their order, and only rows that occur are
/// touched ("sparse in time"). `offsets[k]` is where the occurrences of text k begin in the scratch columns. With
/// `quantized` not null, the row rounded to int8 × scale is written there as floats, for a forward pass that feels
/// the rounding.
void sae_fit_update(float *rows, float *means, float *variances, float *quantized, size_t D,
                    const struct sae_fit_texts *texts, const uint32_t *order, size_t count, const float *gradients,
                    const uint32_t *offsets, struct sae_fit_scratch scratch, struct sae_fit_adam adam, uint32_t part,
                    uint32_t parts);

/// Rounds a row to int8 with one scale, max |x| / 127 (round half to even); a zero row gets scale 0. Returns the scale.
float sae_fit_quantize_row(const float *row, size_t D, int8_t *output);
