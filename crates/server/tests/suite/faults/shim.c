/* Faults of the machine, between the gate and the C library: disks that are full, fail, fail once, write less than they
 * were given or do not come back, and clocks that step or stand still.
 *
 * Loaded with LD_PRELOAD into the real `holdpoint serve`. Rust's standard library and SQLite call the C library's
 * symbols, so whatever the gate writes comes by here. `rustix` makes its system calls by itself: what goes through it (the
 * swap of a target's own file, locks, looks at /proc) does not, and every test asserts that its rule struck.
 *
 * The rules stand in a file that is mapped by the gate and written by the test; see `shim.rs` for its layout.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES 16
#define SECOND 1000000000LL

enum op { WRITE = 1, SYNC = 2, RENAME = 4, OPEN = 8, READ = 16, UNLINK = 32 };
enum effect { FAIL = 1, DONE_BUT_FAILED = 2, SHORT = 3, HOLD = 4, TORN_AND_KILLED = 5 };

struct rule {
    uint64_t armed, op, effect, error;
    uint64_t skip, times;
    /* Counted here: calls that matched, and calls that were struck. */
    uint64_t seen, struck;
    char path[64];
};

static struct control {
    int64_t wall_shift, steady_shift, wall_stands_at, unused;
    struct rule rules[RULES];
} *control;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("HOLDPOINT_TEST_FAULTS");
    if (!path) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at != MAP_FAILED) control = at;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* The rule that strikes this call, if one does. */
static struct rule *struck_path(enum op op, const char *path) {
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &control->rules[i];
        if (!__atomic_load_n(&rule->armed, __ATOMIC_ACQUIRE) || !(rule->op & op) || !strstr(path, rule->path)) continue;
        uint64_t at = __atomic_fetch_add(&rule->seen, 1, __ATOMIC_ACQ_REL);
        if (at < rule->skip || at - rule->skip >= rule->times) continue;
        __atomic_fetch_add(&rule->struck, 1, __ATOMIC_ACQ_REL);
        return rule;
    }
    return NULL;
}

static int is_armed(enum op op) {
    if (!control) return 0;
    for (int i = 0; i < RULES; i++)
        if (__atomic_load_n(&control->rules[i].armed, __ATOMIC_ACQUIRE) && (control->rules[i].op & op)) return 1;
    return 0;
}

static struct rule *struck(enum op op, int fd) {
    if (!is_armed(op)) return NULL;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return struck_path(op, path);
}

static struct rule *struck_name(enum op op, const char *path) {
    return is_armed(op) ? struck_path(op, path) : NULL;
}

/* Waits until the test lets go. */
static void hold(const struct rule *rule) {
    struct timespec pause = {0, 1000000};
    while (__atomic_load_n(&rule->armed, __ATOMIC_ACQUIRE)) syscall(SYS_nanosleep, &pause, NULL);
}

/* For calls that return 0 or -1. */
#define ZERO_OR_FAIL(rule, call) \
    if (!(rule)) return (call); \
    if ((rule)->effect == HOLD) { hold(rule); return (call); } \
    if ((rule)->effect == DONE_BUT_FAILED) (void)!(call); \
    errno = (int)(rule)->error; \
    return -1

/* For writes of `count` bytes; `part` writes the first half of them. */
#define WRITE_OR_FAIL(rule, count, whole, part) \
    if (!(rule)) return (whole); \
    if ((rule)->effect == HOLD) { hold(rule); return (whole); } \
    if ((rule)->effect == SHORT) return (count) > 1 ? (part) : (whole); \
    if ((rule)->effect == TORN_AND_KILLED) { (void)!(part); syscall(SYS_kill, getpid(), SIGKILL); } \
    if ((rule)->effect == DONE_BUT_FAILED) (void)!(whole); \
    errno = (int)(rule)->error; \
    return -1

ssize_t write(int fd, const void *from, size_t count) {
    REAL(write);
    struct rule *rule = struck(WRITE, fd);
    WRITE_OR_FAIL(rule, count, real(fd, from, count), real(fd, from, count / 2));
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    REAL(pwrite);
    struct rule *rule = struck(WRITE, fd);
    WRITE_OR_FAIL(rule, count, real(fd, from, count, at), real(fd, from, count / 2, at));
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    REAL(pwrite64);
    struct rule *rule = struck(WRITE, fd);
    WRITE_OR_FAIL(rule, count, real(fd, from, count, at), real(fd, from, count / 2, at));
}

ssize_t writev(int fd, const struct iovec *from, int count) {
    REAL(writev);
    struct rule *rule = struck(WRITE, fd);
    WRITE_OR_FAIL(rule, count, real(fd, from, count), real(fd, from, count / 2));
}

ssize_t read(int fd, void *into, size_t count) {
    REAL(read);
    struct rule *rule = struck(READ, fd);
    ZERO_OR_FAIL(rule, real(fd, into, count));
}

ssize_t pread64(int fd, void *into, size_t count, off64_t at) {
    REAL(pread64);
    struct rule *rule = struck(READ, fd);
    ZERO_OR_FAIL(rule, real(fd, into, count, at));
}

int fsync(int fd) {
    REAL(fsync);
    struct rule *rule = struck(SYNC, fd);
    ZERO_OR_FAIL(rule, real(fd));
}

int fdatasync(int fd) {
    REAL(fdatasync);
    struct rule *rule = struck(SYNC, fd);
    ZERO_OR_FAIL(rule, real(fd));
}

int rename(const char *from, const char *to) {
    REAL(rename);
    struct rule *rule = struck_name(RENAME, to);
    ZERO_OR_FAIL(rule, real(from, to));
}

int unlink(const char *path) {
    REAL(unlink);
    struct rule *rule = struck_name(UNLINK, path);
    ZERO_OR_FAIL(rule, real(path));
}

static int open_mode(int flags, va_list rest) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, int) : 0;
}

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = open_mode(flags, rest); \
        va_end(rest); \
        struct rule *rule = struck_name(OPEN, path); \
        ZERO_OR_FAIL(rule, real(path, flags, mode)); \
    }
OPENING(open)
OPENING(open64)

/* The clocks. What the process is told; timers of the kernel go on by the real ones. */
int clock_gettime(clockid_t clock, struct timespec *into) {
    long failed = syscall(SYS_clock_gettime, clock, into);
    if (failed || !control) return (int)failed;
    int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    int64_t shift = __atomic_load_n(is_wall ? &control->wall_shift : &control->steady_shift, __ATOMIC_ACQUIRE);
    int64_t stands = __atomic_load_n(&control->wall_stands_at, __ATOMIC_ACQUIRE);
    if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID) return 0;
    int64_t now = into->tv_sec * SECOND + into->tv_nsec + shift;
    if (is_wall && stands) now = stands;
    into->tv_sec = now / SECOND;
    into->tv_nsec = now % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
