/* Stands between the broker and the C library: calls that change files below a folder are counted, and one of them
 * fails or waits; the wall clock and the name of the machine's boot are what the test says.
 *
 * Compiled by `preload.rs`, loaded by LD_PRELOAD. Settings are environment variables:
 *   FAULT_BELOW  the folder; calls on other files are let through and not counted
 *   FAULT_CALLS  which calls count: any of w (write), s (sync), l (length)
 *   FAULT_AT     the n-th of them fails with FAULT_ERRNO
 *   FAULT_LOG    gets a line for each: the number, the kind, and "failed" for the one that failed
 *   FAULT_STALL  syncs wait as long as this file exists
 *   WALL_SHIFT_S seconds by which the wall clock is wrong
 *   BOOT_ID      file that is read instead of that of the kernel
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long counted;

static int is_below(int fd) {
    const char *folder = getenv("FAULT_BELOW");
    char link[64], path[PATH_MAX];
    if (folder == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, folder, strlen(folder)) == 0;
}

static void note(long number, char kind, int failed) {
    const char *name = getenv("FAULT_LOG");
    if (name == NULL) return;
    char line[64];
    int length = snprintf(line, sizeof line, "%ld %c%s\n", number, kind, failed ? " failed" : "");
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    (void)!syscall(SYS_write, fd, line, (size_t)length);
    syscall(SYS_close, fd);
}

/* Whether this call fails; errno is set then. */
static int fails(int fd, char kind) {
    const char *calls = getenv("FAULT_CALLS");
    if (calls == NULL || strchr(calls, kind) == NULL || !is_below(fd)) return 0;
    long number = atomic_fetch_add(&counted, 1) + 1;
    const char *at = getenv("FAULT_AT");
    int failed = at != NULL && atol(at) == number;
    note(number, kind, failed);
    if (!failed) return 0;
    const char *code = getenv("FAULT_ERRNO");
    errno = code != NULL ? atoi(code) : EIO;
    return 1;
}

static void stall(int fd) {
    const char *name = getenv("FAULT_STALL");
    struct timespec while_ms = {0, 5000000};
    if (name == NULL || !is_below(fd)) return;
    while (access(name, F_OK) == 0) nanosleep(&while_ms, NULL);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return fails(fd, 'w') ? -1 : syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return fails(fd, 'w') ? -1 : syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return fails(fd, 'w') ? -1 : syscall(SYS_pwrite64, fd, bytes, length, offset);
}

int fsync(int fd) {
    stall(fd);
    return fails(fd, 's') ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    stall(fd);
    return fails(fd, 's') ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t length) { return fails(fd, 'l') ? -1 : (int)syscall(SYS_ftruncate, fd, length); }

int ftruncate64(int fd, off64_t length) { return fails(fd, 'l') ? -1 : (int)syscall(SYS_ftruncate, fd, length); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *shift = getenv("WALL_SHIFT_S");
    if (result == 0 && clock == CLOCK_REALTIME && shift != NULL) time->tv_sec += atol(shift);
    return result;
}

static const char *instead(const char *path) {
    const char *other = getenv("BOOT_ID");
    return other != NULL && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? other : path;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    return (int)syscall(SYS_openat, AT_FDCWD, instead(path), flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    return (int)syscall(SYS_openat, AT_FDCWD, instead(path), flags | O_LARGEFILE, mode);
}
