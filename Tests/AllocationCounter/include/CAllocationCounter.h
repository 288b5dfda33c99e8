#pragma once
#include <stdint.h>

/// Allocations that this thread has made since it began. Linking this target replaces malloc and its family in the
/// whole process by versions that count and forward to the C library; in a build with a sanitizer it counts nothing.
uint64_t sae_thread_allocations(void);
