#pragma once
// The hot loops of fitting a model: records and gates, forward and backward (algorithm.md, sections 3 to 5). The dense
// products between them are OpenBLAS calls of the caller. Every sum has a fixed order (16 lanes, then a fixed tree;
// occurrences in the order of the texts) and products are never fused with additions, so that a fit gives the same bits
// on one machine with any number of threads and any instruction set; between machines expf of the C library may differ.
// All sizes are multiples of 16: other sizes do nothing.
#include <stddef.h>
#include <stdint.h>

#define SAE_FIT_MAXIMUM_DIMENSIONS 1024
#define SAE_FIT_MAXIMUM_RANK 256
#define SAE_FIT_MAXIMUM_PIECES 512
#define SAE_FIT_MAXIMUM_GROUP 16

/// Sizes: D of the meaning E, r of the context gate q, s of the neighbour gate m and k, c of the couplings l and h.
/// 0 leaves a part out; without r and s every weight is 1. A record is the floats E q m k l h b, b in the first of 16
/// lanes: `sae_fit_width` of them.
struct sae_fit_shape {
    size_t D, r, s, c;
};

static inline size_t sae_fit_width(struct sae_fit_shape shape) {
    return shape.D + shape.r + 2 * shape.s + 2 * shape.c + 16;
}

/// Texts as columns: the records of text t are `pieces[starts[t] ..< starts[t + 1]]`, at most SAE_FIT_MAXIMUM_PIECES; its
/// target is the int8 row t of `targets` (texts × D) times `target_scales[t]`, a unit vector.
struct sae_fit_texts {
    const uint32_t *pieces;
    const uint64_t *starts;
    const int8_t *targets;
    const float *target_scales;
};

/// What all texts share, as far as records are concerned.
struct sae_fit_gates {
    const float *P; // r × D
    const float *d; // 4 × s: offsets −2, −1, +1, +2
    const float *e; // 2 × c: offsets +1, +2
};

/// A batch of `count` texts, order[0 ..< count], and the memory of one step over it; row k belongs to text order[k].
struct sae_fit_batch {
    const uint32_t *order;
    size_t count;
    const float *temperatures; // count
    const uint32_t *offsets;   // count + 1: where the occurrences of each text begin
    float *bags;               // count × D: x̂ of the plain sum
    float *contexts;           // count × r: P x̂
    float *inverses;           // count × 2: 1/|x| of the plain and of the weighted sum
    float *features;           // count × (D + c): [x̂ ; z] of the weighted sum
    float *weights, *slopes;   // an entry an occurrence: w, and the derivative of the loss by −E
    float *moves;              // occurrences × (2 s + 2 c): the derivatives by m, k, l, h
    float *bag_gradients;      // count × D: by the plain sum
    float *sum_gradients;      // count × D: by the weighted sum
    float *context_gradients;  // count × r: by P x̂
    uint32_t *heads, *next, *owners; // scratch of the update: `heads` an entry a record, all UINT32_MAX between steps
};

/// Features, weights and contexts of the texts first ..< last, by rows of `width` floats.
void sae_fit_forward(const float *records, struct sae_fit_shape shape, const struct sae_fit_texts *texts,
                     const struct sae_fit_gates *gates, const struct sae_fit_batch *batch, size_t first, size_t last);

/// The backward pass of the same texts, from `feature_gradients` (rows first ..< last × (D + c), the first row that of text
/// `first`). Adds the derivatives by d and e to `d_gradient` (4 × s) and `e_gradient` (2 × c).
void sae_fit_backward(const float *records, struct sae_fit_shape shape, const struct sae_fit_texts *texts,
                      const struct sae_fit_gates *gates, const struct sae_fit_batch *batch, const float *feature_gradients,
                      float *d_gradient, float *e_gradient, size_t first, size_t last);

/// The loss of `count` texts in groups of `group` that lie side by side (the last may be smaller), with y the `outputs`
/// (count × D) and t the targets of order[k]:  Σ (1 − ŷ·t) + λ/(g − 1) · Σ over pairs i < j of a group (ŷᵢ·ŷⱼ − tᵢ·tⱼ)².
/// `outputs` becomes ŷ, `gradients` the derivative by y (may be null), `cosines` ŷ·t.
void sae_fit_loss(const struct sae_fit_texts *texts, size_t D, const uint32_t *order, size_t count, size_t group,
                  float similarity_weight, float *outputs, float *gradients, float *cosines);

/// bids = max(0, bids − θ), count × H; the gradient mask is bids > 0.
void sae_fit_threshold(float *bids, const float *thresholds, size_t count, size_t H);
/// gradients = 0 where bids = 0.
void sae_fit_mask(float *gradients, const float *bids, size_t count);

/// One step's numbers of Adam; `rate` includes the schedule and the bias corrections of the moments.
struct sae_fit_adam {
    float rate, beta1, beta2, epsilon;
};

/// One Adam step for `count` parameters (any count).
void sae_fit_adam_step(float *values, float *means, float *variances, const float *gradients, size_t count,
                       struct sae_fit_adam adam);

/// One Adam step for the records of the batch that belong to `part` of `parts` (blocks of 16 in turn): the gradient of a
/// record is the sum over its occurrences, in their order; only records that occur are touched ("sparse in time"). With
/// `rounded` not null the record is also written there, as `sae_fit_round_record` does.
void sae_fit_update(float *records, float *means, float *variances, float *rounded, struct sae_fit_shape shape,
                    const struct sae_fit_texts *texts, const struct sae_fit_batch *batch, struct sae_fit_adam adam,
                    uint32_t part, uint32_t parts);

/// A record as `sae_fit_pack_record` stores it, and back: E of 8 bits an element, q, m, k, l and h of 4, b of 16.
void sae_fit_round_record(const float *record, struct sae_fit_shape shape, float *output);

/// The sizes are not checked here. Writes a record, D + r/2 + s + c + 16 bytes, as `struct sae_records` in CVectorKernels.h says.
void sae_fit_pack_record(const float *record, struct sae_fit_shape shape, uint8_t *output);

/// output[i] = direction · target of text order[i], for i < count.
void sae_fit_project(const struct sae_fit_texts *texts, size_t D, const uint32_t *order, size_t count,
                     const float *direction, float *output);

/// Rounds a row to int8 with one scale, max |x| / 127 (half to even); a zero row gets scale 0. Returns the scale.
float sae_fit_quantize_row(const float *row, size_t D, int8_t *output);
