// From text to pieces through a word cache.
//
// A text is cut at ASCII white space (space, tab, line feed, form feed, carriage return: what nmt_nfkc_cf turns
// into spaces, which separate words). Each word is segmented alone, so its pieces depend on nothing else, and
// its bytes, with A-Z in lower case (which nmt_nfkc_cf does anyway), are the key of the cache. The library sees
// only words that the cache does not hold.
//
// A slot is 16 bytes; key and ids lie in one arena: [key, padded to 4][ids]. When slots or arena are full the
// cache is emptied, so it is bounded and costs a refill of the frequent words, which text soon repeats.
#include "CSentencePiece.h"
#include <stdlib.h>
#include <string.h>

struct slot {
    uint64_t hash; // 0 = free
    uint32_t offset;
    uint16_t length, count;
};

struct sae_tokenizer {
    const sae_pieces *pieces;
    struct slot *slots;
    uint8_t *arena;
    uint32_t mask, used, arena_used, arena_size;
    uint64_t hits, misses;
};

/// Lower-case byte, or 0 for white space. NUL is no white space, so it maps to itself through `is_space`.
static inline int is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }

sae_tokenizer *sae_tokenizer_new(const sae_pieces *pieces, uint32_t slots) {
    sae_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->pieces = pieces;
    t->mask = slots - 1;
    t->arena_size = slots * 24; // measured: 21 bytes of key and ids a word on English text
    t->slots = calloc(slots, sizeof *t->slots);
    t->arena = malloc(t->arena_size);
    if (t->slots && t->arena) return t;
    sae_tokenizer_free(t);
    return NULL;
}

void sae_tokenizer_free(sae_tokenizer *t) {
    if (!t) return;
    free(t->slots);
    free(t->arena);
    free(t);
}

void sae_tokenizer_counts(const sae_tokenizer *t, uint64_t *hits, uint64_t *misses) {
    *hits = t->hits;
    *misses = t->misses;
}

/// Length of the first run of a word of `length` > SAE_MAXIMUM_RUN bytes: not inside a UTF-8 sequence.
static size_t run_length(const uint8_t *word) {
    size_t cut = SAE_MAXIMUM_RUN;
    while (cut > SAE_MAXIMUM_RUN - 4 && (word[cut] & 0xc0) == 0x80) cut--;
    return (word[cut] & 0xc0) == 0x80 ? SAE_MAXIMUM_RUN : cut;
}

size_t sae_next_word(const uint8_t *text, size_t length, size_t *offset) {
    size_t begin = *offset;
    while (begin < length && is_space(text[begin])) begin++;
    size_t end = begin;
    while (end < length && end - begin <= SAE_MAXIMUM_RUN && !is_space(text[end])) end++;
    *offset = begin;
    return end - begin > SAE_MAXIMUM_RUN ? run_length(text + begin) : end - begin;
}

/// Eight bytes at a time, each step a multiplication whose halves are folded together (the construction of
/// wyhash). `key` has zeros up to a multiple of 8.
static uint64_t hash_key(const uint8_t *key, size_t length) {
    uint64_t hash = 0x9e3779b97f4a7c15u ^ length;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, key + i, 8);
        __uint128_t product = (__uint128_t)(hash ^ word) * 0xe7037ed1a0b428dbu;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return hash | 1;
}

static void forget(sae_tokenizer *t) {
    memset(t->slots, 0, ((size_t)t->mask + 1) * sizeof *t->slots);
    t->used = t->arena_used = 0;
}

static void remember(sae_tokenizer *t, uint64_t hash, const uint8_t *key, size_t length, const uint32_t *ids,
                     size_t count) {
    size_t padded = (length + 3) & ~(size_t)3, size = padded + count * 4;
    if (size > t->arena_size) return; // a small cache may not hold even one long word
    if (t->used * 4 >= t->mask * 3 || t->arena_used + size > t->arena_size) forget(t);
    uint32_t i = (uint32_t)(hash >> 32) & t->mask;
    while (t->slots[i].hash) i = (i + 1) & t->mask;
    t->slots[i] = (struct slot){hash, t->arena_used, (uint16_t)length, (uint16_t)count};
    memcpy(t->arena + t->arena_used, key, length);
    memcpy(t->arena + t->arena_used + padded, ids, count * 4);
    t->arena_used += (uint32_t)size;
    t->used++;
}

static const struct slot *look_up(const sae_tokenizer *t, uint64_t hash, const uint8_t *key, size_t length) {
    for (uint32_t i = (uint32_t)(hash >> 32) & t->mask; t->slots[i].hash; i = (i + 1) & t->mask) {
        const struct slot *slot = &t->slots[i];
        if (slot->hash == hash && slot->length == length && !memcmp(t->arena + slot->offset, key, length)) {
            return slot;
        }
    }
    return NULL;
}

ptrdiff_t sae_tokenizer_encode(sae_tokenizer *t, const uint8_t *text, size_t length, uint32_t *ids,
                               size_t capacity, int *was_cut, int uses_cache) {
    // One word of SAE_MAXIMUM_RUN bytes has at most so many pieces: the longest NFKC expansion is 3 bytes to 33
    // (U+FDFA), and every byte may be a piece of its own.
    uint32_t found[SAE_MAXIMUM_RUN * 12];
    uint8_t key[SAE_MAXIMUM_RUN + 8];
    size_t total = 0, offset = 0, size;
    *was_cut = 0;
    for (; (size = sae_next_word(text, length, &offset)); offset += size) {
        for (size_t i = 0; i < size; i++) {
            uint8_t c = text[offset + i];
            key[i] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        }
        memset(key + size, 0, 8);
        const uint32_t *word = found;
        size_t count;
        uint64_t hash = hash_key(key, size);
        const struct slot *slot = uses_cache ? look_up(t, hash, key, size) : NULL;
        if (slot) {
            t->hits++;
            count = slot->count;
            word = (const uint32_t *)(t->arena + slot->offset + ((slot->length + 3u) & ~3u));
        } else {
            t->misses++;
            ptrdiff_t result = sae_pieces_encode(t->pieces, (const char *)key, size, found, NULL, NULL,
                                                 sizeof found / sizeof *found);
            if (result < 0 || (size_t)result > sizeof found / sizeof *found) return -1;
            count = (size_t)result;
            if (uses_cache) remember(t, hash, key, size, found, count);
        }
        if (count > capacity - total) {
            memcpy(ids + total, word, (capacity - total) * 4);
            *was_cut = 1;
            return (ptrdiff_t)capacity;
        }
        for (size_t i = 0; i < count; i++) ids[total + i] = word[i];
        total += count;
    }
    return (ptrdiff_t)total;
}
