// From text to pieces through a word cache.
//
// A text is cut at ASCII white space (space, tab, line feed, form feed, carriage return: what nmt_nfkc_cf turns
// into spaces, which separate words). Each word is segmented alone, so its pieces depend on nothing else, and
// its bytes, with A-Z in lower case (which nmt_nfkc_cf does anyway), are the key of the cache. Only words that the cache
// does not hold are segmented.
//
// A text goes through in blocks: first all bytes to lower case, with a bit for each white space; then the ends of the
// words from those bits; then the line of the cache for each word, fetched ahead; then the pieces. A line of the cache is
// two slots, each a word of up to 16 bytes and 7 pieces. Lines go in pairs: a word is at home in one, and when that is full
// the one used longer ago becomes a guest in the other, where it is looked for last. The next text is cut, and its lines
// asked for, before the words of the one at hand are looked up: they come from far away.
#include "CSentencePiece.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 16
#define SLOT_IDS 7
#define BLOCK 1024
// One word of SAE_MAXIMUM_RUN bytes has at most so many pieces: the longest NFKC expansion is 3 bytes to 33 (U+FDFA),
// and every byte may be a piece of its own.
#define MAXIMUM_IDS (SAE_MAXIMUM_RUN * 12)

/// A word: its bytes, each with the bits of a space flipped, then zeros. No word holds a space, so no two words have one
/// key, and none has the key of an empty slot.
struct key {
    uint64_t halves[2];
};

struct slot {
    struct key key;
    uint16_t ids[SLOT_IDS];
    uint8_t count;
    uint8_t last; // of the first slot of a line: which of the two was used last
};

struct line {
    struct slot slots[2];
};
_Static_assert(sizeof(struct line) == 64, "a line is a cache line");

/// A text, or the next part of one, cut into words.
struct block {
    const uint8_t *text; // NULL: nothing is cut
    size_t length;       // of the text from there on
    size_t taken, words;
    uint8_t folded[BLOCK + KEY_BYTES];
    uint16_t edges[BLOCK + 2]; // where each word begins and ends in `folded`
    struct {
        struct key key;
        size_t home;
    } found[BLOCK / 2 + 1];
};

struct sae_tokenizer {
    const sae_pieces *pieces;
    void *memory;
    struct line *lines;
    uint64_t mask;
    uint64_t words, misses;
    struct block blocks[2];
    int current;
};

static inline int is_space(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }

sae_tokenizer *sae_tokenizer_new(const sae_pieces *pieces, uint32_t slots) {
    sae_tokenizer *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->pieces = pieces;
    t->mask = slots / 2 - 1;
    // Pages that the system clears when they are first used.
    t->memory = calloc(slots / 2 + 1, sizeof *t->lines);
    if (t->memory) {
        t->lines = (struct line *)(((uintptr_t)t->memory + sizeof *t->lines - 1) & ~(uintptr_t)(sizeof *t->lines - 1));
        return t;
    }
    sae_tokenizer_free(t);
    return NULL;
}

void sae_tokenizer_free(sae_tokenizer *t) {
    if (!t) return;
    free(t->memory);
    free(t);
}

void sae_tokenizer_counts(const sae_tokenizer *t, uint64_t *hits, uint64_t *misses) {
    *hits = t->words - t->misses;
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
    *offset = begin;
    size_t end = begin;
    while (end < length && end - begin <= SAE_MAXIMUM_RUN && !is_space(text[end])) end++;
    return end - begin > SAE_MAXIMUM_RUN ? run_length(text + begin) : end - begin;
}

typedef uint8_t bytes64 __attribute__((ext_vector_type(64)));
typedef _Bool bits64 __attribute__((ext_vector_type(64)));

/// A to Z of 64 bytes in lower case; a bit for each white space.
static inline uint64_t fold(const uint8_t *from, uint8_t *to) {
    bytes64 bytes;
    memcpy(&bytes, from, 64);
    const bytes64 lower = bytes + ((bytes64)(bytes - 'A' < 26) & 32);
    memcpy(to, &lower, 64);
    const bits64 bits = __builtin_convertvector(
        (bytes == ' ') | (bytes == '\t') | (bytes == '\n') | (bytes == '\f') | (bytes == '\r'), bits64);
    uint64_t spaces;
    memcpy(&spaces, &bits, 8);
    return spaces;
}

/// The key of a word of up to KEY_BYTES bytes, of which so many can be read.
static inline struct key key_of(const uint8_t *word, size_t length) {
    static const uint8_t mask[2 * KEY_BYTES] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                255, 255, 255, 255, 255, 255, 255, 255};
    const uint64_t spaces = 0x2020202020202020u;
    struct key key, used;
    memcpy(&key, word, KEY_BYTES);
    memcpy(&used, mask + KEY_BYTES - length, KEY_BYTES);
    for (int i = 0; i < 2; i++) key.halves[i] = (key.halves[i] ^ spaces) & used.halves[i];
    return key;
}

static inline int differ(struct key a, struct key b) {
    return ((a.halves[0] ^ b.halves[0]) | (a.halves[1] ^ b.halves[1])) != 0;
}

/// The pieces of a word in lower case; their number, or -1.
static ptrdiff_t segment(const sae_tokenizer *t, const uint8_t *word, size_t length, uint32_t *ids) {
    ptrdiff_t count = sae_pieces_segment(t->pieces, word, length, ids);
    if (count < 0) count = sae_pieces_encode(t->pieces, (const char *)word, length, ids, NULL, NULL, MAXIMUM_IDS);
    return count > MAXIMUM_IDS ? -1 : count;
}

/// The number of the line that is a word's home.
static inline size_t home_of(const sae_tokenizer *t, struct key key) {
    const __uint128_t product =
        (__uint128_t)(key.halves[0] ^ 0x9e3779b97f4a7c15u) * (key.halves[1] ^ 0xe7037ed1a0b428dbu);
    return ((uint64_t)product ^ (uint64_t)(product >> 64)) & t->mask;
}

/// The words of two slots change places.
static void exchange(struct slot *a, struct slot *b) {
    uint8_t word[offsetof(struct slot, last)];
    memcpy(word, a, sizeof word);
    memcpy(a, b, sizeof word);
    memcpy(b, word, sizeof word);
}

/// The slot of a line that was used longer ago, marked as the one used last.
static struct slot *renew(struct line *line) {
    line->slots[0].last = !line->slots[0].last;
    return &line->slots[line->slots[0].last];
}

/// A word that is a guest in the other line of its pair goes home, in exchange for one there. NULL if it is no guest.
static const struct slot *bring_home(sae_tokenizer *t, size_t home, struct key key) {
    struct line *other = &t->lines[home ^ 1];
    const int not_first = differ(other->slots[0].key, key);
    if (not_first && differ(other->slots[1].key, key)) return NULL;
    struct slot *slot = renew(&t->lines[home]);
    exchange(slot, &other->slots[not_first]);
    return slot;
}

/// Remembers a word at home, if a slot can hold it. The one that makes room becomes a guest in the other line of the pair,
/// or is forgotten if it was a guest.
static void remember(sae_tokenizer *t, struct key key, const uint32_t *ids, size_t count) {
    struct slot new = {.key = key, .count = (uint8_t)count};
    if (count > SLOT_IDS) return;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] > UINT16_MAX) return;
        new.ids[i] = (uint16_t)ids[i];
    }
    const size_t home = home_of(t, key);
    exchange(renew(&t->lines[home]), &new);
    if (new.key.halves[0] && home_of(t, new.key) == home) exchange(renew(&t->lines[home ^ 1]), &new);
}

/// Where pieces go.
struct output {
    uint32_t *ids;
    size_t count, capacity;
};

/// False when not all had room.
static int append(struct output *output, const uint32_t *ids, size_t count) {
    const size_t room = output->capacity - output->count;
    memcpy(output->ids + output->count, ids, (count < room ? count : room) * 4);
    output->count += count < room ? count : room;
    return count <= room;
}

/// Pieces of a slot.
static inline int append_slot(struct output *output, const struct slot *slot) {
    typedef uint16_t narrow __attribute__((ext_vector_type(8)));
    typedef uint32_t wide __attribute__((ext_vector_type(8)));
    narrow ids;
    memcpy(&ids, slot->ids, sizeof ids);
    const wide widened = __builtin_convertvector(ids, wide);
    if (output->capacity - output->count < 8) {
        uint32_t all[8];
        memcpy(all, &widened, sizeof all);
        return append(output, all, slot->count);
    }
    memcpy(output->ids + output->count, &widened, sizeof widened);
    output->count += slot->count;
    return 1;
}

enum outcome { done, full, failed };

/// The pieces of a word that is longer than a key or not in the cache.
static enum outcome segment_word(sae_tokenizer *t, const uint8_t *word, size_t length, struct output *output) {
    uint32_t ids[MAXIMUM_IDS];
    for (size_t size; length; word += size, length -= size) {
        size = length;
        if (length > SAE_MAXIMUM_RUN) {
            size = run_length(word);
            t->words++;
        }
        const ptrdiff_t count = segment(t, word, size, ids);
        t->misses++;
        if (count < 0) return failed;
        if (size <= KEY_BYTES) remember(t, key_of(word, size), ids, (size_t)count);
        if (!append(output, ids, (size_t)count)) return full;
    }
    return done;
}

/// The pieces of the words of a block.
static enum outcome look_up(sae_tokenizer *t, const struct block *block, struct output *output) {
    t->words += block->words;
    for (size_t i = 0; i < block->words; i++) {
        const size_t begin = block->edges[2 * i], length = block->edges[2 * i + 1] - begin;
        const struct key key = block->found[i].key;
        struct line *line = &t->lines[block->found[i].home];
        const int not_first = differ(line->slots[0].key, key);
        const struct slot *slot = &line->slots[not_first];
        if (length > KEY_BYTES) {
            slot = NULL;
        } else if (not_first && differ(slot->key, key)) {
            slot = bring_home(t, block->found[i].home, key);
        } else {
            line->slots[0].last = (uint8_t)not_first;
        }
        if (!slot) {
            const enum outcome outcome = segment_word(t, block->folded + begin, length, output);
            if (outcome != done) return outcome;
            continue;
        }
        if (!append_slot(output, slot)) return full;
    }
    return done;
}

/// Cuts the next block of a text into words, and asks for their lines.
static void cut(const sae_tokenizer *t, const uint8_t *text, size_t length, struct block *block) {
    const size_t size = length < BLOCK ? length : BLOCK;
    uint8_t *folded = block->folded;
    uint16_t *edges_of = block->edges;
    size_t count = 0;
    uint64_t before = 1;
    for (size_t i = 0; i < size; i += 64) {
        uint64_t spaces;
        if (size - i >= 64) {
            spaces = fold(text + i, folded + i);
        } else {
            memset(folded + i, ' ', 64);
            memcpy(folded + i, text + i, size - i);
            spaces = fold(folded + i, folded + i);
        }
        for (uint64_t edges = spaces ^ (spaces << 1 | before); edges; edges &= edges - 1) {
            edges_of[count++] = (uint16_t)(i + (size_t)__builtin_ctzll(edges));
        }
        before = spaces >> 63;
    }
    block->text = text;
    block->length = length;
    block->taken = size;
    if (count % 2) {
        // The block ends in a word.
        edges_of[count++] = (uint16_t)size;
        if (size < length) {
            const size_t begin = edges_of[count - 2];
            if (begin > 0) {
                count -= 2;
                block->taken = begin;
            } else {
                block->taken = edges_of[1] = (uint16_t)run_length(text);
            }
        }
    }
    block->words = count / 2;
    for (size_t i = 0; i < block->words; i++) {
        const size_t begin = edges_of[2 * i], word = edges_of[2 * i + 1] - begin;
        block->found[i].key = key_of(folded + begin, word < KEY_BYTES ? word : KEY_BYTES);
        block->found[i].home = home_of(t, block->found[i].key);
        __builtin_prefetch(&t->lines[block->found[i].home], 1);
    }
}

/// The pieces of a text through the cache; the beginning of the next one is cut ahead.
static enum outcome encode_by_cache(sae_tokenizer *t, const uint8_t *text, size_t length, const uint8_t *next,
                                    size_t next_length, struct output *output) {
    struct block *block = &t->blocks[t->current], *ahead = &t->blocks[!t->current];
    if (block->text != text || block->length != length) cut(t, text, length, block);
    ahead->text = NULL;
    if (next && next_length > 0) cut(t, next, next_length, ahead);
    t->current = !t->current;
    enum outcome outcome = length > 0 ? look_up(t, block, output) : done;
    for (size_t offset = block->taken; offset < length && outcome == done; offset += block->taken) {
        cut(t, text + offset, length - offset, block);
        outcome = look_up(t, block, output);
    }
    block->text = NULL;
    return outcome;
}

/// The plain form of all the rest, each word segmented by the library.
static enum outcome encode_by_library(sae_tokenizer *t, const uint8_t *text, size_t length, struct output *output) {
    uint32_t ids[MAXIMUM_IDS];
    char word[SAE_MAXIMUM_RUN];
    size_t offset = 0, size;
    for (; (size = sae_next_word(text, length, &offset)); offset += size) {
        for (size_t i = 0; i < size; i++) {
            const uint8_t c = text[offset + i];
            word[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        const ptrdiff_t count = sae_pieces_encode(t->pieces, word, size, ids, NULL, NULL, MAXIMUM_IDS);
        if (count < 0 || count > MAXIMUM_IDS) return failed;
        if (!append(output, ids, (size_t)count)) return full;
    }
    return done;
}

ptrdiff_t sae_tokenizer_encode(sae_tokenizer *t, const uint8_t *text, size_t length, const uint8_t *next,
                               size_t next_length, uint32_t *ids, size_t capacity, int *was_cut) {
    struct output output = {ids, 0, capacity};
    const enum outcome outcome = encode_by_cache(t, text, length, next, next_length, &output);
    *was_cut = outcome == full;
    return outcome == failed ? -1 : (ptrdiff_t)output.count;
}

ptrdiff_t sae_tokenizer_encode_plainly(sae_tokenizer *t, const uint8_t *text, size_t length, uint32_t *ids, size_t capacity,
                                       int *was_cut) {
    struct output output = {ids, 0, capacity};
    const enum outcome outcome = encode_by_library(t, text, length, &output);
    *was_cut = outcome == full;
    return outcome == failed ? -1 : (ptrdiff_t)output.count;
}
