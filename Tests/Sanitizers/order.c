// Loaded before Swift's libraries in runs under the thread sanitizer (scripts/sanitize.sh).
//
// Where threads meet at a Mutex, the Synchronization library locks and unlocks it in three functions of its own (and there lets the
// kernel do it), which the sanitizer does not see: without this it takes what the mutex guards for a race. Each function does what
// it did, and tells the sanitizer the order that this makes.
//
// The concurrency library tells the sanitizer of its own orders, but for one: a task that awaits a continuation which was resumed
// already, or is resumed on the way to sleep, goes on after what its resumer did.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

void *swift_task_getCurrent(void) __attribute__((weak));

// Absent in programs that are started on the way and have no sanitizer.
void __tsan_acquire(void *address) __attribute__((weak));
void __tsan_release(void *address) __attribute__((weak));

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

static void *next(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    return function;
}

SWIFT void lock(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT void lock(uint32_t thread, SELF void *mutex) {
    ((SWIFT void (*)(uint32_t, SELF void *))next(LOCK))(thread, mutex);
    if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT bool try_lock(SELF void *mutex) __asm__(TRY_LOCK);
SWIFT bool try_lock(SELF void *mutex) {
    bool is_locked = ((SWIFT bool (*)(SELF void *))next(TRY_LOCK))(mutex);
    if (is_locked && __tsan_acquire) __tsan_acquire(mutex);
    return is_locked;
}

SWIFT void unlock(SELF void *mutex) __asm__(UNLOCK);
SWIFT void unlock(SELF void *mutex) {
    if (__tsan_release) __tsan_release(mutex);
    ((SWIFT void (*)(SELF void *))next(UNLOCK))(mutex);
}

// What resumes a continuation tells that it releases the task.
static void acquire_current_task(void) {
    void *task = swift_task_getCurrent ? swift_task_getCurrent() : NULL;
    if (task && __tsan_acquire) __tsan_acquire(task);
}

__attribute__((swiftasynccall)) void await_continuation(void *continuation) __asm__("swift_continuation_await");
__attribute__((swiftasynccall)) void await_continuation(void *continuation) {
    acquire_current_task();
    __attribute__((swiftasynccall)) void (*original)(void *) = next("swift_continuation_await");
    return original(continuation);
}

// Called on the way back, where the task was resumed before it slept.
SWIFT void enter_context(void *context) __asm__("swift_task_enterThreadLocalContext");
SWIFT void enter_context(void *context) {
    ((SWIFT void (*)(void *))next("swift_task_enterThreadLocalContext"))(context);
    acquire_current_task();
}
