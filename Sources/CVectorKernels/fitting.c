// Hot loops of fitting: see SAEFitting.h for what each computes. A text of n pieces reads n records twice forward and
// twice backward; the update costs about 20 bytes × width of traffic a record (record and two moments, read and written).
#include "include/SAEFitting.h"

#include <float.h>
#include <math.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

typedef float lanes __attribute__((vector_size(64)));
typedef float unaligned_lanes __attribute__((vector_size(64), aligned(4)));
typedef int8_t unaligned_bytes __attribute__((vector_size(16), aligned(1)));

// What chooses among the clones runs before the thread sanitizer has begun.
#if defined(__x86_64__) && !__has_feature(thread_sanitizer)
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

INLINE void clear(float *output, size_t count) { memset(output, 0, count * sizeof(float)); }

// Normalises in place; returns 1/|x|, or 0 where x = 0.
INLINE float unit(float *x, size_t D) {
    const float norm = sqrtf(dot(x, x, D));
    const float inverse = norm > 0 ? 1 / norm : 0;
    for (size_t d = 0; d < D; d += LANES) STORE(x + d, LOAD(x + d) * inverse);
    return inverse;
}

// gradient by x from the gradient by x̂ = x/|x|, in place: (I − x̂ x̂ᵀ)/|x|.
INLINE void through_unit(float *gradient, const float *unit, float inverse, size_t D) {
    const float along = dot(gradient, unit, D);
    for (size_t d = 0; d < D; d += LANES) STORE(gradient + d, (LOAD(gradient + d) - LOAD(unit + d) * along) * inverse);
}

static int unsuitable(struct sae_fit_shape shape) {
    return UNSUITABLE(shape.D) || shape.r % LANES || shape.r > SAE_FIT_MAXIMUM_RANK || shape.s % LANES ||
           shape.s > SAE_FIT_MAXIMUM_RANK || shape.c % LANES || shape.c > SAE_FIT_MAXIMUM_DIMENSIONS;
}

static const int offsets_of_d[4] = {-2, -1, 1, 2};

// The records of one text and the places of their parts.
struct text {
    const float *records[SAE_FIT_MAXIMUM_PIECES];
    size_t count, q, m, k, l, h, b, width;
};

INLINE void open_text(struct text *text, const float *records, struct sae_fit_shape shape,
                      const struct sae_fit_texts *texts, uint32_t number) {
    const uint64_t begin = texts->starts[number];
    text->count = (size_t)(texts->starts[number + 1] - begin);
    if (text->count > SAE_FIT_MAXIMUM_PIECES) text->count = SAE_FIT_MAXIMUM_PIECES;
    text->q = shape.D;
    text->m = text->q + shape.r;
    text->k = text->m + shape.s;
    text->l = text->k + shape.s;
    text->h = text->l + shape.c;
    text->b = text->h + shape.c;
    text->width = sae_fit_width(shape);
    for (size_t i = 0; i < text->count; i++) text->records[i] = records + (size_t)texts->pieces[begin + i] * text->width;
}

WIDEST
void sae_fit_forward(const float *records, struct sae_fit_shape shape, const struct sae_fit_texts *texts,
                     const struct sae_fit_gates *gates, const struct sae_fit_batch *batch, size_t first, size_t last) {
    const size_t D = shape.D, r = shape.r, s = shape.s, c = shape.c;
    if (unsuitable(shape)) return;
    struct text text;
    for (size_t t = first; t < last; t++) {
        open_text(&text, records, shape, texts, batch->order[t]);
        const size_t n = text.count;
        float *x = batch->features + t * (D + c), *weights = batch->weights + batch->offsets[t];
        if (r || s) {
            float *bag = batch->bags + t * D, *u = batch->contexts + t * r;
            clear(bag, D);
            for (size_t i = 0; i < n; i++) add_scaled(bag, 1, text.records[i], D);
            batch->inverses[2 * t] = unit(bag, D);
            for (size_t a = 0; a < r; a++) u[a] = dot(gates->P + a * D, bag, D);
            for (size_t i = 0; i < n; i++) {
                const float *record = text.records[i];
                float energy = record[text.b] + dot(record + text.q, u, r);
                for (int o = 0; s && o < 4; o++) {
                    const size_t other = i + (size_t)(ptrdiff_t)offsets_of_d[o];
                    if (other >= n) continue;
                    lanes sum = {0};
                    for (size_t j = 0; j < s; j += LANES)
                        sum += LOAD(gates->d + (size_t)o * s + j) * LOAD(record + text.m + j) *
                               LOAD(text.records[other] + text.k + j);
                    energy += TREE(sum);
                }
                energy /= batch->temperatures[t];
                // Outside of the clamp nothing flows back: marked by a negative weight until the backward pass.
                weights[i] = energy > 4 ? -expf(4) : energy < -4 ? -expf(-4) : expf(energy);
            }
        } else {
            for (size_t i = 0; i < n; i++) weights[i] = 1;
        }
        clear(x, D + c);
        for (size_t i = 0; i < n; i++) add_scaled(x, fabsf(weights[i]), text.records[i], D);
        batch->inverses[2 * t + 1] = unit(x, D);
        const float root = n ? 1 / sqrtf((float)n) : 0;
        for (size_t o = 1; c && o <= 2; o++) {
            const float *e = gates->e + (o - 1) * c;
            for (size_t i = 0; i + o < n; i++) {
                const float *l = text.records[i] + text.l, *h = text.records[i + o] + text.h;
                for (size_t j = 0; j < c; j += LANES)
                    STORE(x + D + j, LOAD(x + D + j) + LOAD(l + j) * LOAD(h + j) * LOAD(e + j) * root);
            }
        }
    }
}

WIDEST
void sae_fit_backward(const float *records, struct sae_fit_shape shape, const struct sae_fit_texts *texts,
                      const struct sae_fit_gates *gates, const struct sae_fit_batch *batch, const float *feature_gradients,
                      float *d_gradient, float *e_gradient, size_t first, size_t last) {
    const size_t D = shape.D, r = shape.r, s = shape.s, c = shape.c, moved = 2 * s + 2 * c;
    if (unsuitable(shape)) return;
    struct text text;
    for (size_t t = first; t < last; t++) {
        open_text(&text, records, shape, texts, batch->order[t]);
        const size_t n = text.count, at = batch->offsets[t];
        const float *features = batch->features + t * (D + c), *given = feature_gradients + (t - first) * (D + c);
        float *weights = batch->weights + at, *slopes = batch->slopes + at;
        float *sum_gradient = batch->sum_gradients + t * D, *bag_gradient = batch->bag_gradients + t * D;
        clear(batch->moves + at * moved, n * moved);
        memcpy(sum_gradient, given, D * sizeof(float));
        through_unit(sum_gradient, features, batch->inverses[2 * t + 1], D);
        if (r || s) {
            const float *bag = batch->bags + t * D;
            float *u_gradient = batch->context_gradients + t * r;
            clear(u_gradient, r);
            for (size_t i = 0; i < n; i++) {
                const float *record = text.records[i];
                float *move = batch->moves + (at + i) * moved;
                // dw/d(−E) = w/T inside the clamp.
                slopes[i] = weights[i] > 0 ? dot(sum_gradient, record, D) * weights[i] / batch->temperatures[t] : 0;
                weights[i] = fabsf(weights[i]);
                if (slopes[i] == 0) continue;
                add_scaled(u_gradient, slopes[i], record + text.q, r);
                for (int o = 0; s && o < 4; o++) {
                    const size_t other = i + (size_t)(ptrdiff_t)offsets_of_d[o];
                    if (other >= n) continue;
                    const float *d = gates->d + (size_t)o * s, *m = record + text.m,
                                *k = text.records[other] + text.k;
                    float *k_move = batch->moves + (at + other) * moved + s;
                    for (size_t j = 0; j < s; j += LANES) {
                        STORE(move + j, LOAD(move + j) + LOAD(d + j) * LOAD(k + j) * slopes[i]);
                        STORE(k_move + j, LOAD(k_move + j) + LOAD(d + j) * LOAD(m + j) * slopes[i]);
                        float *d_sum = d_gradient + (size_t)o * s + j;
                        STORE(d_sum, LOAD(d_sum) + LOAD(m + j) * LOAD(k + j) * slopes[i]);
                    }
                }
            }
            clear(bag_gradient, D);
            for (size_t a = 0; a < r; a++) add_scaled(bag_gradient, u_gradient[a], gates->P + a * D, D);
            through_unit(bag_gradient, bag, batch->inverses[2 * t], D);
        }
        const float root = n ? 1 / sqrtf((float)n) : 0;
        const float *z_gradient = given + D;
        for (size_t o = 1; c && o <= 2; o++) {
            const float *e = gates->e + (o - 1) * c;
            float *e_sum = e_gradient + (o - 1) * c;
            for (size_t i = 0; i + o < n; i++) {
                const float *l = text.records[i] + text.l, *h = text.records[i + o] + text.h;
                float *l_move = batch->moves + (at + i) * moved + 2 * s, *h_move = batch->moves + (at + i + o) * moved + 2 * s + c;
                for (size_t j = 0; j < c; j += LANES) {
                    const lanes g = LOAD(z_gradient + j) * root, ge = g * LOAD(e + j);
                    STORE(l_move + j, LOAD(l_move + j) + ge * LOAD(h + j));
                    STORE(h_move + j, LOAD(h_move + j) + ge * LOAD(l + j));
                    STORE(e_sum + j, LOAD(e_sum + j) + g * LOAD(l + j) * LOAD(h + j));
                }
            }
        }
    }
}

WIDEST
void sae_fit_loss(const struct sae_fit_texts *texts, size_t D, const uint32_t *order, size_t count, size_t group,
                  float similarity_weight, float *outputs, float *gradients, float *cosines) {
    float targets[SAE_FIT_MAXIMUM_GROUP * SAE_FIT_MAXIMUM_DIMENSIONS];
    float inverses[SAE_FIT_MAXIMUM_GROUP];
    if (UNSUITABLE(D) || group < 1 || group > SAE_FIT_MAXIMUM_GROUP) return;
    for (size_t begin = 0; begin < count; begin += group) {
        const size_t size = count - begin < group ? count - begin : group;
        float *units = outputs + begin * D;
        for (size_t i = 0; i < size; i++) {
            const uint32_t text = order[begin + i];
            inverses[i] = unit(units + i * D, D);
            const int8_t *target = texts->targets + (size_t)text * D;
            for (size_t d = 0; d < D; d += LANES)
                STORE(targets + i * D + d, WIDEN(target + d) * texts->target_scales[text]);
            cosines[begin + i] = dot(units + i * D, targets + i * D, D);
        }
        if (!gradients) continue;
        // The derivative by ŷ first: −t, and 2λ/(g − 1) · (ŷᵢ·ŷⱼ − tᵢ·tⱼ) · ŷⱼ for each other one of the group.
        float *rows = gradients + begin * D;
        for (size_t d = 0; d < size * D; d += LANES) STORE(rows + d, -LOAD(targets + d));
        for (size_t i = 0; i < size; i++) {
            for (size_t j = 0; j < i; j++) {
                const float difference =
                    dot(units + i * D, units + j * D, D) - dot(targets + i * D, targets + j * D, D);
                const float factor = 2 * similarity_weight * difference / (float)(size - 1);
                add_scaled(rows + i * D, factor, units + j * D, D);
                add_scaled(rows + j * D, factor, units + i * D, D);
            }
        }
        for (size_t i = 0; i < size; i++) through_unit(rows + i * D, units + i * D, inverses[i], D);
    }
}

WIDEST
void sae_fit_threshold(float *bids, const float *thresholds, size_t count, size_t H) {
    if (H % LANES) return;
    for (size_t t = 0; t < count; t++)
        for (size_t a = 0; a < H; a++) {
            const float bid = bids[t * H + a] - thresholds[a];
            bids[t * H + a] = bid > 0 ? bid : 0;
        }
}

WIDEST
void sae_fit_mask(float *gradients, const float *bids, size_t count) {
    for (size_t i = 0; i < count; i++) gradients[i] = bids[i] > 0 ? gradients[i] : 0;
}

INLINE void adam_lanes(float *value, float *mean, float *variance, const float *gradient, struct sae_fit_adam adam) {
    const lanes g = LOAD(gradient);
    const lanes m = LOAD(mean) * adam.beta1 + g * (1 - adam.beta1);
    const lanes v = LOAD(variance) * adam.beta2 + (g * g) * (1 - adam.beta2);
    STORE(mean, m);
    STORE(variance, v);
    STORE(value, LOAD(value) - m * adam.rate / (__builtin_elementwise_sqrt(v) + adam.epsilon));
}

WIDEST
void sae_fit_adam_step(float *values, float *means, float *variances, const float *gradients, size_t count,
                       struct sae_fit_adam adam) {
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) adam_lanes(values + i, means + i, variances + i, gradients + i, adam);
    if (i == count) return;
    float rest[4][LANES] = {{0}};
    const size_t bytes = (count - i) * sizeof(float);
    memcpy(rest[0], values + i, bytes);
    memcpy(rest[1], means + i, bytes);
    memcpy(rest[2], variances + i, bytes);
    memcpy(rest[3], gradients + i, bytes);
    adam_lanes(rest[0], rest[1], rest[2], rest[3], adam);
    memcpy(values + i, rest[0], bytes);
    memcpy(means + i, rest[1], bytes);
    memcpy(variances + i, rest[2], bytes);
}

// The numbers of 16 bits of a record are binary32 without their lower half.
INLINE float cut(float value, uint32_t up) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + up) & 0xffff0000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The scale of a part: of E max |x| / 127, of the others max |x| / 7, rounded up to 16 bits.
INLINE float part_scale(const float *values, size_t count, int is_meaning) {
    float largest = 0;
    for (size_t d = 0; d < count; d++) largest = fabsf(values[d]) > largest ? fabsf(values[d]) : largest;
    const float scale = is_meaning ? largest / 127 : cut(largest / 7, 0xffff);
    return scale >= FLT_MIN ? scale : 0;
}

#define PARTS(shape) {(shape).D, (shape).r, (shape).s, (shape).s, (shape).c, (shape).c}

WIDEST
void sae_fit_round_record(const float *record, struct sae_fit_shape shape, float *output) {
    const size_t parts[6] = PARTS(shape);
    for (int i = 0; i < 6; record += parts[i], output += parts[i], i++) {
        const float scale = part_scale(record, parts[i], i == 0), inverse = scale > 0 ? 1 / scale : 0;
        for (size_t d = 0; d < parts[i]; d++) output[d] = rintf(record[d] * inverse) * scale;
    }
    memset(output, 0, LANES * sizeof(float));
    output[0] = cut(record[0], 0x8000);
}

void sae_fit_pack_record(const float *record, struct sae_fit_shape shape, uint8_t *output) {
    const size_t parts[6] = PARTS(shape);
    uint8_t *numbers = output + shape.D + (shape.r + 2 * shape.s + 2 * shape.c) / 2;
    for (int i = 0; i < 6; record += parts[i], i++) {
        const float scale = part_scale(record, parts[i], i == 0), inverse = scale > 0 ? 1 / scale : 0;
        if (i == 0) {
            for (size_t d = 0; d < shape.D; d++) *output++ = (uint8_t)(int)rintf(record[d] * inverse);
            memcpy(numbers, &scale, sizeof scale);
            continue;
        }
        for (size_t d = 0; d < parts[i]; d += LANES)
            for (size_t j = d; j < d + LANES / 2; j++) {
                const int low = (int)rintf(record[j] * inverse), high = (int)rintf(record[j + LANES / 2] * inverse);
                *output++ = (uint8_t)(low + 8 + (high + 8) * 16);
            }
        uint32_t bits;
        memcpy(&bits, &scale, sizeof bits);
        memcpy(numbers + 2 + 2 * i, (const uint16_t[1]){(uint16_t)(bits >> 16)}, 2);
    }
    const float bias = cut(record[0], 0x8000);
    uint32_t bits;
    memcpy(&bits, &bias, sizeof bits);
    memcpy(numbers + 14, (const uint16_t[1]){(uint16_t)(bits >> 16)}, 2);
}

WIDEST
void sae_fit_update(float *records, float *means, float *variances, float *rounded, struct sae_fit_shape shape,
                    const struct sae_fit_texts *texts, const struct sae_fit_batch *batch, struct sae_fit_adam adam,
                    uint32_t part, uint32_t parts) {
    float sum[3 * SAE_FIT_MAXIMUM_DIMENSIONS + 3 * SAE_FIT_MAXIMUM_RANK + LANES];
    const size_t D = shape.D, r = shape.r, moved = 2 * shape.s + 2 * shape.c, width = sae_fit_width(shape);
    const int gated = r || shape.s;
    if (unsuitable(shape) || parts < 1) return;
    uint32_t *heads = batch->heads, *next = batch->next;
    // Backwards, each occurrence put before those found already: the lists run forwards.
    for (size_t k = batch->count; k-- > 0;) {
        const uint64_t begin = texts->starts[batch->order[k]];
        for (uint32_t i = batch->offsets[k + 1] - batch->offsets[k]; i-- > 0;) {
            const uint32_t piece = texts->pieces[begin + i];
            if ((piece >> 4) % parts != part) continue;
            const uint32_t at = batch->offsets[k] + i;
            batch->owners[at] = (uint32_t)k;
            next[at] = heads[piece];
            heads[piece] = at;
        }
    }
    for (size_t k = 0; k < batch->count; k++) {
        const uint64_t begin = texts->starts[batch->order[k]];
        for (uint32_t i = 0; i < batch->offsets[k + 1] - batch->offsets[k]; i++) {
            const uint32_t piece = texts->pieces[begin + i];
            if ((piece >> 4) % parts != part || heads[piece] == UINT32_MAX) continue;
            clear(sum, width);
            for (uint32_t at = heads[piece]; at != UINT32_MAX; at = next[at]) {
                const size_t owner = batch->owners[at];
                add_scaled(sum, batch->weights[at], batch->sum_gradients + owner * D, D);
                if (gated) {
                    add_scaled(sum, 1, batch->bag_gradients + owner * D, D);
                    add_scaled(sum + D, batch->slopes[at], batch->contexts + owner * r, r);
                    sum[width - LANES] += batch->slopes[at];
                }
                add_scaled(sum + D + r, 1, batch->moves + (size_t)at * moved, moved);
            }
            heads[piece] = UINT32_MAX;
            const size_t first = (size_t)piece * width;
            for (size_t d = 0; d < width; d += LANES)
                adam_lanes(records + first + d, means + first + d, variances + first + d, sum + d, adam);
            if (rounded) sae_fit_round_record(records + first, shape, rounded + first);
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
