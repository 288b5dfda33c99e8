#pragma once
// toml++ for C: a document is read and given value by value. No exception leaves, and nothing is left to be freed.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    SAE_TOML_TABLE,
    SAE_TOML_STRING,
    SAE_TOML_INTEGER,
    SAE_TOML_TRUTH,
    /// A float, a date, a time or an array.
    SAE_TOML_OTHER,
} sae_toml_kind;

/// A table, in front of what is in it, or another value. UTF-8; lives as long as the call that gives it.
typedef struct {
    sae_toml_kind kind;
    /// All names that lead to it, with dots between them.
    const char *name;
    size_t name_size;
    /// What a string says, an integer in decimal, `true` or `false`, or the value as TOML writes it. Empty for a table.
    const char *text;
    size_t text_size;
} sae_toml_value;

typedef void (*sae_toml_visit)(void *context, const sae_toml_value *value);

/// Why a text is no document.
typedef struct {
    /// From 1; 0 where no place is known.
    uint32_t line, column;
    /// Cut, terminated.
    char reason[256];
} sae_toml_problem;

/// Reads the `size` bytes of `text` as TOML 1.0 and gives each value to `visit`, those of a table in the order of their names.
/// False where that is impossible, with the reason in `*problem`; what `visit` has heard is worth nothing then.
///
/// Tables are read and freed by recursion: the caller bounds how deep dots may nest them.
bool sae_toml_read(const char *text, size_t size, sae_toml_visit visit, void *context, sae_toml_problem *problem);

#ifdef __cplusplus
}
#endif
