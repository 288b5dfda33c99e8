#pragma once
#include <stddef.h>
#include <stdint.h>

/// libFuzzer's loop (LLVM, FuzzerInterface): runs `callback` on inputs until a time or count is up. The linker gets
/// it with -sanitize=fuzzer.
int LLVMFuzzerRunDriver(int *count, char ***arguments, int (*callback)(const uint8_t *bytes, size_t size));
