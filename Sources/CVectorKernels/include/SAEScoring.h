#pragma once
// Bids of context rules in int8 (algorithm.md, section 5): bid[i][r] = max(0, K_r · F_i − θ_r) for n texts of k float
// features and H rules of k int8. Every form gives the same bits: the products are exact integers, and what follows
// is rounded in one fixed order.
//
//   scale_i = max_j |F_ij| / 127                       0, and all q = 0, where that is below FLT_MIN or not finite
//   q_ij    = F_ij · (1 / scale_i)                     rounded to nearest, ties to even: −127 ... 127
//   dot_ir  = Σ_j q_ij · K_rj                          exact
//   bid_ir  = max(0, (scale_i · scale_r) · (float)dot_ir − θ_r)    each operation rounded
#include <stddef.h>
#include <stdint.h>

/// Forms of the kernel. VNNI needs AVX-512 F, BW, DQ, VL and VNNI; AMX needs AMX-INT8 beside.
enum sae_bid_form { SAE_BID_REFERENCE = 0, SAE_BID_AVX2 = 1, SAE_BID_VNNI = 2, SAE_BID_AMX = 3 };

/// The fastest form that this processor has. The first call asks the system for AMX's tiles, which it may refuse.
int sae_bid_best_form(void);

/// More features would let a sum leave 32 bits.
#define SAE_BID_MAXIMUM_FEATURES 65536
/// Rules stand in panels of this many, features in steps of four.
#define SAE_BID_PANEL 16
/// Texts are taken in blocks of this many, whose quantised features stand in the scratch memory.
#define SAE_BID_BLOCK 96

#define SAE_BID_PADDED_RULES(H) (((size_t)(H) + 15) / 16 * 16)
#define SAE_BID_PADDED_FEATURES(k) (((size_t)(k) + 3) / 4 * 4)
/// Bytes of a text's features in the scratch memory, where a feature has one byte: whole tiles.
#define SAE_BID_STRIDE(k) (((size_t)(k) + 63) / 64 * 64)
/// Bytes of scratch memory of one thread for k features; it must be aligned to 64.
static inline size_t sae_bid_scratch_bytes(size_t k) {
    const size_t wide = SAE_BID_PADDED_FEATURES(k) * 2, stride = SAE_BID_STRIDE(k);
    return SAE_BID_BLOCK * (wide > stride ? wide : stride);
}

/// So many bytes behind the panels are read as well, for what is in no bid: tiles end beyond the last panel.
#define SAE_BID_PANEL_SLACK 1024

/// Rules as the kernels read them. Columns are padded to whole panels with zeros.
struct sae_bid_rules {
    size_t H, k;
    const int8_t *panels;     // [padded H / 16][padded k / 4][16 rules][4 features], aligned to 64, and the slack
    const int32_t *sums;      // padded H: Σ_j K_rj
    const float *scales;      // padded H
    const float *thresholds;  // padded H: θ
};

/// Fills `panels` and `sums` from H rows of k.
void sae_bid_pack(const int8_t *rows, size_t H, size_t k, int8_t *panels, int32_t *sums);

/// bids: n × H, row-major.
void sae_bid_scores_i8(int form, const struct sae_bid_rules *rules, const float *features, size_t n, void *scratch,
                       float *bids);

/// Entries of a text in the columns of what fired: whole panels, and a line of the cache more, because the texts of a tile
/// are written side by side, and the first levels hold few lines whose distance is a power of two.
static inline size_t sae_bid_fired_stride(size_t H) { return SAE_BID_PADDED_RULES(H) + 16; }

/// The rules that fired (bid > 0), ascending, and their bids: text i has counts[i] of them from i × stride on in
/// `indices` and `bids`, both of n × stride (`sae_bid_fired_stride`). What stands behind a text's last one is undefined.
void sae_bid_fired_i8(int form, const struct sae_bid_rules *rules, const float *features, size_t n, void *scratch,
                      uint32_t *indices, float *bids, uint32_t *counts);

/// The fired rules of one text from all its H bids, in the same form: up to padded H entries of `indices` and `fired`,
/// and their number in `count`.
void sae_bid_collect(const float *bids, size_t H, uint32_t *indices, float *fired, uint32_t *count);
