/* A small board around the server: a clock that jumps, a card that is slow or fails, names that do not
 * resolve. Loaded before the C library; told what to do by a file that the test maps, too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As in board.rs. */
struct board {
    int64_t clock_ms;    /* added to the time */
    int64_t sync_ms;     /* how long each sync takes */
    int64_t sync_error;  /* errno of each sync, 0 for none */
    int64_t write_error; /* errno of each write below the data directory, 0 for none */
    int64_t meta_error;  /* errno of each write to the database that must be durable at once */
    int64_t names_ms;    /* how long each look-up takes */
    int64_t names_error; /* EAI_… of each look-up, 0 for none */
    int64_t syncs;       /* how many there were */
    int64_t lookups;
};

static volatile struct board none;
static volatile struct board *board = &none;
static const char *data = "";

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("BOARD");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(0, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) board = map;
    close(file);
    data = getenv("BOARD_DATA");
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static void rest(int64_t ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static __typeof__(&clock_gettime) real_one;
    if (!real_one) real_one = REAL(clock_gettime);
    int done = real_one(clock, time);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ms = board->clock_ms, nanos = time->tv_nsec + ms % 1000 * 1000000;
        time->tv_sec += ms / 1000;
        if (nanos < 0) { nanos += 1000000000; time->tv_sec--; }
        if (nanos >= 1000000000) { nanos -= 1000000000; time->tv_sec++; }
        time->tv_nsec = nanos;
    }
    return done;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* Whether the file lies below the data directory. */
static int is_data(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, data, strlen(data));
}

static int may_write(int file) {
    if ((board->write_error || board->meta_error) && is_data(file)) {
        int64_t error = board->write_error;
        if (!error && fcntl(file, F_GETFL) & O_DSYNC) error = board->meta_error;
        if (error) { errno = error; return 0; }
    }
    return 1;
}

static int sync_with(int file, int (*sync)(int)) {
    if (is_data(file)) {
        __sync_add_and_fetch(&board->syncs, 1);
        rest(board->sync_ms);
        if (board->sync_error) { errno = board->sync_error; return -1; }
    }
    return sync(file);
}

int fsync(int file) { return sync_with(file, REAL(fsync)); }
int fdatasync(int file) { return sync_with(file, REAL(fdatasync)); }

ssize_t write(int file, const void *bytes, size_t count) {
    static __typeof__(&write) real_one;
    if (!real_one) real_one = REAL(write);
    return may_write(file) ? real_one(file, bytes, count) : -1;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    static __typeof__(&writev) real_one;
    if (!real_one) real_one = REAL(writev);
    return may_write(file) ? real_one(file, parts, count) : -1;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return may_write(file) ? REAL(pwrite)(file, bytes, count, offset) : -1;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    return may_write(file) ? REAL(pwrite64)(file, bytes, count, offset) : -1;
}

static int open_with(const char *name, int flags, mode_t mode, int (*open_it)(const char *, int, ...)) {
    if (board->write_error && flags & (O_WRONLY | O_RDWR | O_CREAT) && !strncmp(name, data, strlen(data))) {
        errno = board->write_error;
        return -1;
    }
    return open_it(name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_with(name, flags, mode, REAL(open64));
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict found) {
    __sync_add_and_fetch(&board->lookups, 1);
    rest(board->names_ms);
    if (board->names_error) return board->names_error;
    return REAL(getaddrinfo)(name, service, hints, found);
}
