// Loaded before the C library (LD_PRELOAD) by tests only: counts the steps in which a daemon changes its jobs' files, and at one of
// them ends the process or fails, as a disk might. The program itself knows nothing of it.
//
//   FAULT_FOLDER=PATH  of the jobs, with its links resolved: what is elsewhere is left alone, and without it everything
//   FAULT_LOG=FILE     appends the name of each step, a line each
//   FAULT_AT=N         the step, from 1, at which something happens
//   FAULT_KIND=KIND    before, after: the process dies (SIGKILL) in front of the step or behind it; torn: half of what is to be
//                      written is, then it dies; enospc, eio: the step, and the FAULT_COUNT - 1 next ones, fail
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long steps;

static int is_of_jobs(const char *path) {
    const char *folder = getenv("FAULT_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    return length && strncmp(path, folder, length) == 0 && path[length] == '/' && strcmp(path + length, "/lock") != 0;
}

static int descriptor_is_of_jobs(int descriptor) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t count = readlink(link, path, sizeof path - 1);
    if (count <= 0) return 0;
    path[count] = 0;
    return is_of_jobs(path);
}

static const char *kind(void) {
    const char *value = getenv("FAULT_KIND");
    return value ? value : "";
}

static void die(void) {
    kill(getpid(), SIGKILL);
    pause();
}

/// Notes a step. 0: go on; 1: die behind it; 2: die in its midst; else the error to fail with, negative.
static int step(const char *name) {
    long number = atomic_fetch_add(&steps, 1) + 1;
    const char *log = getenv("FAULT_LOG");
    if (log) {
        int (*really_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
        int file = really_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (file >= 0) {
            char line[64];
            int count = snprintf(line, sizeof line, "%s\n", name);
            if (write(file, line, (size_t)count) < 0) abort();
            close(file);
        }
    }
    const char *at = getenv("FAULT_AT"), *count = getenv("FAULT_COUNT");
    if (!at) return 0;
    long first = atol(at), last = first + (count ? atol(count) : 1) - 1;
    if (strcmp(kind(), "enospc") == 0) return number >= first && number <= last ? -ENOSPC : 0;
    if (strcmp(kind(), "eio") == 0) return number >= first && number <= last ? -EIO : 0;
    if (number != first) return 0;
    if (strcmp(kind(), "before") == 0) die();
    return strcmp(kind(), "torn") == 0 ? 2 : 1;
}

static int done(int what, int result) {
    int error = errno;
    if (what == 1 || what == 2) die();
    errno = error;
    return result;
}

static int fail(int what) {
    errno = -what;
    return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    if (!descriptor_is_of_jobs(descriptor)) return REAL(pwrite)(descriptor, bytes, count, offset);
    int what = step("pwrite");
    if (what < 0) return fail(what);
    ssize_t written = REAL(pwrite)(descriptor, bytes, what == 2 ? count / 2 : count, offset);
    if (what) die();
    return written;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
    if (!descriptor_is_of_jobs(descriptor)) return REAL(write)(descriptor, bytes, count);
    int what = step("write");
    if (what < 0) return fail(what);
    ssize_t written = REAL(write)(descriptor, bytes, what == 2 ? count / 2 : count);
    if (what) die();
    return written;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) { return pwrite(descriptor, bytes, count, offset); }

int fdatasync(int descriptor) {
    if (!descriptor_is_of_jobs(descriptor)) return REAL(fdatasync)(descriptor);
    int what = step("fdatasync");
    return what < 0 ? fail(what) : done(what, REAL(fdatasync)(descriptor));
}

int fsync(int descriptor) {
    if (!descriptor_is_of_jobs(descriptor)) return REAL(fsync)(descriptor);
    int what = step("fsync");
    return what < 0 ? fail(what) : done(what, REAL(fsync)(descriptor));
}

int ftruncate(int descriptor, off_t size) {
    if (!descriptor_is_of_jobs(descriptor)) return REAL(ftruncate)(descriptor, size);
    int what = step("ftruncate");
    return what < 0 ? fail(what) : done(what, REAL(ftruncate)(descriptor, size));
}

int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

int rename(const char *from, const char *to) {
    if (!is_of_jobs(to)) return REAL(rename)(from, to);
    int what = step("rename");
    return what < 0 ? fail(what) : done(what, REAL(rename)(from, to));
}

int linkat(int old_folder, const char *from, int new_folder, const char *to, int flags) {
    if (!is_of_jobs(to)) return REAL(linkat)(old_folder, from, new_folder, to, flags);
    int what = step("linkat");
    return what < 0 ? fail(what) : done(what, REAL(linkat)(old_folder, from, new_folder, to, flags));
}
