#pragma once
// libsentencepiece for C: a model that is opened from bytes, and its trainer. No exception leaves; nothing
// keeps state outside a handle. A model may be shared by threads, a tokenizer belongs to one.
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sae_pieces sae_pieces;

/// Opens a serialised model. NULL on failure, with the reason in `error` (cut to `error_size`, terminated).
sae_pieces *sae_pieces_open(const void *bytes, size_t count, char *error, size_t error_size);
void sae_pieces_close(sae_pieces *pieces);

/// Number of pieces.
uint32_t sae_pieces_count(const sae_pieces *pieces);

/// The text of a piece; it lives as long as the model. NULL for an id out of range.
const char *sae_pieces_text(const sae_pieces *pieces, uint32_t id, size_t *length);

/// Segments `text` with the library. Writes at most `capacity` ids and returns how many there are, or -1 when
/// the library fails. `begins` and `ends`, byte offsets in `text`, may be NULL.
ptrdiff_t sae_pieces_encode(const sae_pieces *pieces, const char *text, size_t length, uint32_t *ids,
                            uint32_t *begins, uint32_t *ends, size_t capacity);

/// What `sae_pieces_encode` gives for a word of 1 to SAE_MAXIMUM_RUN bytes, each printable ASCII and not upper case, by
/// own code: a fraction of the time, no allocation. Writes up to length + 3 ids and returns their number; -1 for any
/// other word, and always with a model of another kind than `sae_pieces_train` makes.
ptrdiff_t sae_pieces_segment(const sae_pieces *pieces, const uint8_t *word, size_t length, uint32_t *ids);

/// Gives the next text of a corpus; 0 at the end.
typedef int (*sae_next_text)(void *context, const char **text, size_t *length);

/// Trains a unigram model (nmt_nfkc_cf, byte fallback). The serialised model goes to `*bytes`, to be freed by
/// `sae_pieces_free_bytes`. 0 on success, else -1 with the reason in `error`.
int sae_pieces_train(sae_next_text next, void *context, uint32_t vocabulary, uint32_t threads, uint64_t sentences,
                     char **bytes, size_t *count, char *error, size_t error_size);
void sae_pieces_free_bytes(char *bytes);

/// A word cache in front of a model.
typedef struct sae_tokenizer sae_tokenizer;

/// `slots` is a power of two from 4 to 2^20: so many words of at most 16 bytes and 7 pieces (with ids under 65,536) are
/// remembered, in 32 bytes each; new ones push out those of their four slots that were not used of late.
sae_tokenizer *sae_tokenizer_new(const sae_pieces *pieces, uint32_t slots);
void sae_tokenizer_free(sae_tokenizer *tokenizer);

/// Longest word that is segmented as a whole, in bytes; longer ones are cut into runs of at most so many bytes,
/// at a character border where there is one.
#define SAE_MAXIMUM_RUN 256

/// Pieces of `text`. Writes at most `capacity` ids; returns their number, and in `*was_cut` whether there
/// were more. -1 when the library fails. `next`, or NULL, is what the next call will encode, and stays as it is until then.
ptrdiff_t sae_tokenizer_encode(sae_tokenizer *tokenizer, const uint8_t *text, size_t length, const uint8_t *next,
                               size_t next_length, uint32_t *ids, size_t capacity, int *was_cut);

/// The same by the library alone, word by word.
ptrdiff_t sae_tokenizer_encode_plainly(sae_tokenizer *tokenizer, const uint8_t *text, size_t length, uint32_t *ids,
                                       size_t capacity, int *was_cut);

/// The next word of `text` at or after `*offset`: its first byte in `*offset`, its length as the result, 0 at
/// the end. This is how `sae_tokenizer_encode` cuts.
size_t sae_next_word(const uint8_t *text, size_t length, size_t *offset);

void sae_tokenizer_counts(const sae_tokenizer *tokenizer, uint64_t *hits, uint64_t *misses);

#ifdef __cplusplus
}
#endif
