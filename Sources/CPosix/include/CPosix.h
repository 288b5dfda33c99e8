#pragma once
// The calls that Swift cannot express: variadic functions, macros, structures hidden behind _GNU_SOURCE.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// open(2) with a mode; O_CLOEXEC is always set. The descriptor, or -errno.
int sae_open(const char *path, int flags, mode_t mode);

/// Opens a regular file below the directory `root` for reading. Every part of `path` is opened for itself, so that no symbolic link is
/// followed; "", ".", ".." and an absolute path are refused, as is all that is no regular file. The descriptor, or -errno.
int sae_open_beneath(const char *root, const char *path);

/// accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC. The descriptor, or -errno.
int sae_accept(int listener);

/// Sets O_NONBLOCK. 0, or -errno.
int sae_set_nonblocking(int descriptor);

/// eventfd(2), non-blocking, close-on-exec, starting at 0. The descriptor, or -errno.
int sae_eventfd(void);

/// One ready descriptor: the token it was watched with, and readiness as SAE_READABLE and SAE_WRITABLE.
struct sae_ready {
    uint64_t token;
    uint32_t readiness;
};
enum { SAE_READABLE = 1, SAE_WRITABLE = 2 };

/// epoll_create1(2), close-on-exec. The descriptor, or -errno.
int sae_epoll(void);

/// Watches `descriptor` for `interest` (SAE_READABLE, SAE_WRITABLE; 0 = forget it), level-triggered; `watched` says whether
/// it is watched already. 0, or -errno.
int sae_epoll_watch(int epoll, int descriptor, uint64_t token, uint32_t interest, int watched);

/// Watches an eventfd so that each write to it is reported once and nobody need read it. 0, or -errno.
int sae_epoll_watch_edges(int epoll, int descriptor, uint64_t token);

/// epoll_wait(2) for up to `count` (at most 64) ready descriptors. A hang-up or an error reads as both readiness bits.
/// How many there are (0 after `milliseconds` or a signal), or -errno.
int sae_epoll_wait(int epoll, struct sae_ready *ready, int count, int milliseconds);

/// From now on each of these signals is a byte with its number to be read from the result, a non-blocking descriptor of the
/// process: none is lost from the return on. Or -errno. The calling thread hears them, whatever it inherited; others may.
int sae_watch_signals(const int *numbers, int count);

/// Names the calling thread, in at most 15 bytes, as debuggers and `top` show it.
void sae_name_thread(const char *name);

/// Credentials of the peer of a connected Unix socket (SO_PEERCRED). 0, or -errno.
int sae_peer_credentials(int socket, uint32_t *pid, uint32_t *uid, uint32_t *gid);

/// A new file in `folder` that has no name (O_TMPFILE), open for writing. The descriptor, or -errno.
int sae_open_unnamed(const char *folder, mode_t mode);

/// Gives a file from sae_open_unnamed a name, which must be free; needs /proc. 0, or -errno.
int sae_name_file(int descriptor, const char *path);

/// Writes out what printing has gathered. 0, or -errno of this or an earlier failure (EIO where that is not known).
int sae_finish_standard_output(void);

/// What the program was built from; "unknown" where the build did not say.
const char *sae_revision(void);

/// malloc_trim(3): gives the pages of free memory in all arenas back to the system.
void sae_return_free_memory(void);
