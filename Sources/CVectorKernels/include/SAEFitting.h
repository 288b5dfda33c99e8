#pragma once
// The hot loops of fitting a bag lexicon. Every sum has a fixed order (16 lanes, then a fixed tree; occurrences in
// the order of the texts) and products are never fused with additions, so that a fit gives the same bits with any
// number of threads and any instruction set. `D`, the dimensions of a row, is a multiple of 16, at most
// SAE_FIT_MAXIMUM_DIMENSIONS, in all of them: other sizes do nothing.
#include <stddef.h>
#include <stdint.h>

#define SAE_FIT_MAXIMUM_DIMENSIONS 2048
#define SAE_FIT_MAXIMUM_GROUP 16

/// Texts as columns: the pieces of text t are `pieces[starts[t] ..< starts[t + 1]]`; its target is the int8 row t of
/// `targets` (texts × D) times `target_scales[t]`, a unit vector.
struct sae_fit_texts {
    const uint32_t *pieces;
    const uint64_t *starts;
    const int8_t *targets;
    const float *target_scales;
};

/// `count` texts, order[0 ..< count], in groups of `group` that lie side by side (the last may be smaller), and the
/// memory of one step over them. With x = Σ rows[p] over the pieces of a text, x̂ = x/|x|, t its target:
struct sae_fit_batch {
    const uint32_t *order;
    size_t count, group;
    /// λ of the loss Σ (1 − x̂·t) + λ/(g − 1) · Σ over pairs i < j of a group of g: (x̂ᵢ·x̂ⱼ − tᵢ·tⱼ)².
    float similarity_weight;
    /// Out, count: x̂·t of each text (0 where x = 0).
    float *cosines;
    /// Out, count: half of each text's part of the second sum, λ left out.
    float *differences;
    /// Out, count × D: x̂ (0 where x = 0).
    float *units;
    /// Out, count × D: the derivative of the loss by x; or null, when it is not wanted.
    float *gradients;
    /// count + 1: where the occurrences of each text begin in the columns below.
    const uint32_t *offsets;
    /// Scratch of the update. `heads` has one entry a row and is all UINT32_MAX between steps; `next` and `owners`
    /// have one entry an occurrence.
    uint32_t *heads, *next, *owners;
};

/// The forward and backward pass of groups first ..< last.
void sae_fit_forward(const float *rows, size_t D, const struct sae_fit_texts *texts, const struct sae_fit_batch *batch,
                     size_t first, size_t last);

/// The state of Adam and one step's numbers; `rate` includes the schedule and the bias corrections of the moments.
struct sae_fit_adam {
    float *means, *variances;  // like the rows
    float rate, beta1, beta2, epsilon;
};

/// One Adam step for the rows of the batch that belong to `part` of `parts` (blocks of 16 rows in turn): the gradient
/// of row p is Σ gradients[k] over the occurrences of p, in their order, and only rows that occur are touched
/// ("sparse in time").
void sae_fit_update(float *rows, size_t D, const struct sae_fit_texts *texts, const struct sae_fit_batch *batch,
                    const struct sae_fit_adam *adam, uint32_t part, uint32_t parts);

/// output[i] = direction · target of text order[i], for i < count.
void sae_fit_project(const struct sae_fit_texts *texts, size_t D, const uint32_t *order, size_t count,
                     const float *direction, float *output);

/// Rounds a row to int8 with one scale, max |x| / 127 (half to even); a zero row gets scale 0. Returns the scale.
float sae_fit_quantize_row(const float *row, size_t D, int8_t *output);
