#define _GNU_SOURCE
#include "CPosix.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int sae_open(const char *path, int flags, mode_t mode) {
    int descriptor = open(path, flags | O_CLOEXEC, mode);
    return descriptor < 0 ? -errno : descriptor;
}

int sae_open_beneath(const char *root, const char *path) {
    int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return -errno;
    for (;;) {
        char part[256];
        const size_t length = strcspn(path, "/");
        if (length == 0 || length >= sizeof part) break;
        memcpy(part, path, length);
        part[length] = 0;
        if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0) break;
        const int is_last = path[length] == 0;
        struct stat status;
        // A device or pipe is not even opened.
        if (is_last && (fstatat(folder, part, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode))) break;
        const int flags = is_last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY;
        const int next = openat(folder, part, flags | O_NOFOLLOW | O_CLOEXEC);
        close(folder);
        if (next < 0) return -EACCES;
        folder = next;
        if (!is_last) {
            path += length + 1;
            continue;
        }
        if (fstat(next, &status) == 0 && S_ISREG(status.st_mode)) return next;
        break;
    }
    close(folder);
    return -EACCES;
}

int sae_accept(int listener) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int sae_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return 0;
}

int sae_eventfd(void) {
    int descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int sae_epoll(void) {
    int descriptor = epoll_create1(EPOLL_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

int sae_epoll_watch(int epoll, int descriptor, uint64_t token, uint32_t interest, int watched) {
    struct epoll_event event = {.data = {.u64 = token}};
    if (interest & SAE_READABLE) event.events |= EPOLLIN;
    if (interest & SAE_WRITABLE) event.events |= EPOLLOUT;
    // A descriptor without interest would still report hang-ups, again and again.
    int operation = !interest ? EPOLL_CTL_DEL : watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    return epoll_ctl(epoll, operation, descriptor, &event) < 0 ? -errno : 0;
}

int sae_epoll_watch_edges(int epoll, int descriptor, uint64_t token) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.u64 = token}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) < 0 ? -errno : 0;
}

int sae_epoll_wait(int epoll, struct sae_ready *ready, int count, int milliseconds) {
    struct epoll_event events[64];
    int found = epoll_wait(epoll, events, count < 64 ? count : 64, milliseconds);
    if (found < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < found; i++) {
        uint32_t seen = events[i].events;
        ready[i].token = events[i].data.u64;
        ready[i].readiness = (seen & (EPOLLIN | EPOLLHUP | EPOLLERR) ? SAE_READABLE : 0)
            | (seen & (EPOLLOUT | EPOLLHUP | EPOLLERR) ? SAE_WRITABLE : 0);
    }
    return found;
}

static int signal_pipe[2] = {-1, -1};

static void pass_on(int number) {
    const int kept = errno;
    const uint8_t byte = (uint8_t)number;
    // A full pipe holds more signals than anybody needs.
    if (write(signal_pipe[1], &byte, 1) < 0) {}
    errno = kept;
}

int sae_watch_signals(const int *numbers, int count) {
    if (signal_pipe[0] < 0 && pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    sigset_t heard;
    sigemptyset(&heard);
    for (int i = 0; i < count; i++) {
        if (sigaction(numbers[i], &action, NULL) < 0) return -errno;
        sigaddset(&heard, numbers[i]);
    }
    const int result = pthread_sigmask(SIG_UNBLOCK, &heard, NULL);
    return result ? -result : signal_pipe[0];
}

void sae_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

int sae_peer_credentials(int socket, uint32_t *pid, uint32_t *uid, uint32_t *gid) {
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return -errno;
    *pid = (uint32_t)credentials.pid;
    *uid = credentials.uid;
    *gid = credentials.gid;
    return 0;
}

int sae_open_unnamed(const char *folder, mode_t mode) {
    int descriptor = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
    return descriptor < 0 ? -errno : descriptor;
}

int sae_name_file(int descriptor, const char *path) {
    char own[64];
    snprintf(own, sizeof own, "/proc/self/fd/%d", descriptor);
    return linkat(AT_FDCWD, own, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int sae_finish_standard_output(void) {
    errno = 0;
    if (fflush(stdout) != 0) return -(errno ? errno : EIO);
    if (!ferror(stdout)) return 0;
    // An earlier write failed, and what errno said then is lost; a pipe without a reader still tells.
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) > 0 && (output.revents & POLLERR) ? -EPIPE : -EIO;
}

const char *sae_revision(void) { return SAE_REVISION; }

void sae_return_free_memory(void) { malloc_trim(0); }
