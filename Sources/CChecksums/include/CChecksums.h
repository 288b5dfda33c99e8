#pragma once
#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) of `count` bytes, continuing from `seed`
/// (0 at the start). The plain loop; it defines the value. Source: RFC 3720, appendix B.4.
uint32_t sae_crc32c_reference(uint32_t seed, const void *bytes, size_t count);

/// The same value with the SSE4.2 instruction where the processor has it, else the reference.
uint32_t sae_crc32c(uint32_t seed, const void *bytes, size_t count);
