#pragma once
// The calls that Swift cannot express: variadic functions, macros, structures hidden behind _GNU_SOURCE.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// open(2) with a mode; O_CLOEXEC is always set. The descriptor, or -errno.
int sae_open(const char *path, int flags, mode_t mode);

/// accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC. The descriptor, or -errno.
int sae_accept(int listener);

/// Sets O_NONBLOCK. 0, or -errno.
int sae_set_nonblocking(int descriptor);

/// eventfd(2), non-blocking, close-on-exec, starting at 0. The descriptor, or -errno.
int sae_eventfd(void);

/// Credentials of the peer of a connected Unix socket (SO_PEERCRED). 0, or -errno.
int sae_peer_credentials(int socket, uint32_t *pid, uint32_t *uid, uint32_t *gid);
