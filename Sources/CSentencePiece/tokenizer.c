// From text to pieces through a word cache.
//
// A text is cut at ASCII white space (space, tab, line feed, form feed, carriage return: what nmt_nfkc_cf turns
// into spaces, which separate words). Each word is segmented alone, so its pieces depend on nothing else, and
// its bytes, with A-Z in lower case (which nmt_nfkc_cf does anyway), are the key of the cache. The library sees
// only words that the cache does not hold.
//
// A slot is one cache line that holds a word of up to 32 bytes and 6 pieces. Slots go in fours; a new word takes the
// place of one of its four that has not been used of late. Longer words are rare: only the last of them is remembered, for texts that
// are one endless word.
#include "CSentencePiece.h"
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SLOT_BYTES 32
#define SLOT_IDS 6
#define WAYS 4
// One word of SAE_MAXIMUM_RUN bytes has at most so many pieces: the longest NFKC expansion is 3 bytes to 33 (U+FDFA),
// and every byte may be a piece of its own.
#define MAXIMUM_IDS (SAE_MAXIMUM_RUN * 12)

struct slot {
    uint32_t tag; // of the hash; 0 = free
    uint8_t length, count;
    uint8_t used; // of the first of four: a bit for each that was used of late, never all
    uint8_t unused;
    uint8_t key[SLOT_BYTES]; // zeros behind the word
    uint32_t ids[SLOT_IDS];
};
_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");

struct sae_tokenizer {
    const sae_pieces *pieces;
    struct slot *slots;
    uint32_t mask;
    uint64_t hits, misses;
    // The last word that no slot holds.
    size_t long_length, long_count;
    uint8_t long_key[SAE_MAXIMUM_RUN];
    uint32_t long_ids[MAXIMUM_IDS];
};

static inline int is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }

sae_tokenizer *sae_tokenizer_new(const sae_pieces *pieces, uint32_t slots) {
    sae_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->pieces = pieces;
    t->mask = slots - 1;
    t->slots = aligned_alloc(64, slots * sizeof *t->slots);
    if (t->slots) {
        memset(t->slots, 0, slots * sizeof *t->slots);
        return t;
    }
    sae_tokenizer_free(t);
    return NULL;
}

void sae_tokenizer_free(sae_tokenizer *t) {
    if (!t) return;
    free(t->slots);
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

/// Bytes before the first white space of `text`, or more than `most`.
static size_t word_length(const uint8_t *text, size_t length, size_t most) {
    size_t end = 0;
#if defined(__x86_64__)
    const __m128i space = _mm_set1_epi8(' '), tab = _mm_set1_epi8('\t'), line = _mm_set1_epi8('\n'),
                  feed = _mm_set1_epi8('\f'), end_of_line = _mm_set1_epi8('\r');
    for (; end + 16 <= length && end <= most; end += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(text + end));
        const __m128i found =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, space), _mm_cmpeq_epi8(bytes, tab)),
                         _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, line), _mm_cmpeq_epi8(bytes, feed)),
                                      _mm_cmpeq_epi8(bytes, end_of_line)));
        const int places = _mm_movemask_epi8(found);
        if (places) return end + (size_t)__builtin_ctz((unsigned)places);
    }
#endif
    while (end < length && end <= most && !is_space(text[end])) end++;
    return end;
}

size_t sae_next_word(const uint8_t *text, size_t length, size_t *offset) {
    size_t begin = *offset;
    while (begin < length && is_space(text[begin])) begin++;
    *offset = begin;
    const size_t size = word_length(text + begin, length - begin, SAE_MAXIMUM_RUN);
    return size > SAE_MAXIMUM_RUN ? run_length(text + begin) : size;
}

/// A to Z in lower case.
static void fold(const uint8_t *word, size_t length, uint8_t *key) {
    for (size_t i = 0; i < length; i++) key[i] = (uint8_t)(word[i] + ((uint8_t)(word[i] - 'A') < 26 ? 32 : 0));
}

/// Eight bytes at a time, each step a multiplication whose halves are folded together (the construction of wyhash).
static uint64_t hash_key(const uint8_t key[SLOT_BYTES], size_t length) {
    uint64_t hash = 0x9e3779b97f4a7c15u ^ length;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t word;
        memcpy(&word, key + i, 8);
        __uint128_t product = (__uint128_t)(hash ^ word) * 0xe7037ed1a0b428dbu;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return hash;
}

static int is_same(const uint8_t *a, const uint8_t *b) {
    uint64_t x[4], y[4];
    memcpy(x, a, SLOT_BYTES);
    memcpy(y, b, SLOT_BYTES);
    return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

/// The pieces of a word by the library; their number, or -1.
static ptrdiff_t segment(const sae_tokenizer *t, const uint8_t *key, size_t length, uint32_t *ids) {
    ptrdiff_t count = sae_pieces_encode(t->pieces, (const char *)key, length, ids, NULL, NULL, MAXIMUM_IDS);
    return count > MAXIMUM_IDS ? -1 : count;
}

/// Notes that a slot of four was used; when all have been, the others count as old again.
static void touch(struct slot *four, int way) {
    const uint8_t bit = (uint8_t)(1 << way);
    if (four->used & bit) return;
    four->used |= bit;
    if (four->used == (1 << WAYS) - 1) four->used = bit;
}

/// The pieces of a word through the cache: where they stand in `*ids` (in `found` if nowhere else); their number, or -1.
static ptrdiff_t look_up(sae_tokenizer *t, const uint8_t *word, size_t length, uint32_t *found, const uint32_t **ids) {
    *ids = found;
    if (length > SLOT_BYTES) {
        uint8_t key[SAE_MAXIMUM_RUN];
        fold(word, length, key);
        if (length != t->long_length || memcmp(key, t->long_key, length)) {
            t->misses++;
            const ptrdiff_t count = segment(t, key, length, t->long_ids);
            t->long_length = count < 0 ? 0 : length;
            if (count < 0) return -1;
            t->long_count = (size_t)count;
            memcpy(t->long_key, key, length);
        } else {
            t->hits++;
        }
        *ids = t->long_ids;
        return (ptrdiff_t)t->long_count;
    }
    uint8_t key[SLOT_BYTES] = {0};
    fold(word, length, key);
    const uint64_t hash = hash_key(key, length);
    const uint32_t tag = (uint32_t)(hash >> 32) | 1;
    struct slot *four = &t->slots[(uint32_t)hash & t->mask & ~(uint32_t)(WAYS - 1)];
    for (int way = 0; way < WAYS; way++) {
        const struct slot *slot = four + way;
        if (slot->tag == tag && slot->length == length && is_same(slot->key, key)) {
            t->hits++;
            touch(four, way);
            *ids = slot->ids;
            return slot->count;
        }
    }
    t->misses++;
    const ptrdiff_t count = segment(t, key, length, found);
    if (count < 0 || count > SLOT_IDS) return count;
    const int way = __builtin_ctz(~(unsigned)four->used);
    struct slot *slot = four + way;
    slot->tag = tag;
    slot->length = (uint8_t)length;
    slot->count = (uint8_t)count;
    memcpy(slot->key, key, SLOT_BYTES);
    memcpy(slot->ids, found, (size_t)count * 4);
    touch(four, way);
    return count;
}

ptrdiff_t sae_tokenizer_encode(sae_tokenizer *t, const uint8_t *text, size_t length, uint32_t *ids,
                               size_t capacity, int *was_cut, int uses_cache) {
    uint32_t found[MAXIMUM_IDS];
    size_t total = 0, offset = 0, size;
    *was_cut = 0;
    for (; (size = sae_next_word(text, length, &offset)); offset += size) {
        const uint32_t *word = found;
        ptrdiff_t result;
        if (uses_cache) {
            result = look_up(t, text + offset, size, found, &word);
        } else {
            uint8_t key[SAE_MAXIMUM_RUN];
            fold(text + offset, size, key);
            result = segment(t, key, size, found);
        }
        if (result < 0) return -1;
        const size_t count = (size_t)result;
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
