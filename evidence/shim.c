/* Stands between a program and the system (LD_PRELOAD): makes the n-th call of a kind
 * fail, records what is done to the files below one directory, and tells another time of
 * day. The monotonic clock is as it is, and so are the times of files.
 *
 * HUB_SHIM_UNDER    the directory; calls on other files go by untouched
 * HUB_SHIM_CONTROL  a file that both sides map: struct control
 * HUB_SHIM_RECORD   a file that gets a struct entry for each call, path and data behind
 *                   it; and for what is sent to sockets, before it is sent
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_DSYNC
#define RWF_DSYNC 2
#endif
#define FILES 65536

enum { NONE, OPEN, WRITE, SYNC, TRUNCATE, RENAME, UNLINK, MAKE, SYNCED, SENT, CREATED, DIE };

struct control {
    volatile int32_t kind;    /* of the calls that are counted down, NONE: nothing fails */
    volatile int32_t left;    /* the call fails when this comes to 0 */
    volatile int32_t error;   /* its errno; 0: a write takes half of what it is given */
    volatile int32_t lasting; /* so do all that follow */
    volatile int32_t fired;   /* how many have failed */
                              /* DIE: the process ends at that entry, with nothing half recorded */
    volatile int64_t shift;   /* nanoseconds, added to the time of day */
    volatile int64_t frozen;  /* nanoseconds: the time of day stands still there, 0: it does not */
    volatile int64_t leap;    /* nanoseconds: the second before is there twice, 0: none is */
    volatile int64_t pace;    /* nanoseconds that a write takes longer, for each byte */
};

struct entry {
    uint8_t kind, failed;
    uint16_t path;   /* bytes */
    uint32_t data;   /* bytes */
    uint64_t file;   /* inode; of what was sent, the descriptor */
    uint64_t offset; /* of a sync: the first byte; TRUNCATE: the length */
    uint64_t size;   /* of a sync: bytes, 0: all; of SYNCED: the number of the SYNC, counted from 1 */
    uint64_t time;   /* monotonic nanoseconds */
};

static struct control nothing, *control = &nothing;
static const char *under;
static size_t under_length;
static int record = -1;
static uint64_t entries;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char *watched[FILES];
static uint64_t inode[FILES];

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t real_write(int fd, const void *data, size_t size) {
    REAL(write);
    return real(fd, data, size);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("HUB_SHIM_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *place = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (place != MAP_FAILED) control = place;
        close(fd);
    }
    path = getenv("HUB_SHIM_RECORD");
    if (path) record = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    under = getenv("HUB_SHIM_UNDER");
    under_length = under ? strlen(under) : 0;
    unsetenv("LD_PRELOAD"); /* it is for this process alone, not for those that it starts */
}

static int is_below(const char *path) {
    return under && !strncmp(path, under, under_length) &&
           (path[under_length] == '/' || !path[under_length]);
}

static int is_watched(int fd) { return fd >= 0 && fd < FILES && watched[fd]; }

/* Whether this call is to fail; errno is set then, unless it is to be a short write. */
static int fails(int kind) {
    if (control->kind != kind) return 0;
    int left = __atomic_sub_fetch(&control->left, 1, __ATOMIC_SEQ_CST);
    if (left > 0 || (left < 0 && !control->lasting)) return 0;
    __atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST);
    errno = control->error;
    return 1;
}

static uint64_t note(struct entry entry, const char *path, const struct iovec *data, int count) {
    if (record < 0) return 0;
    int error = errno;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    entry.time = (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
    entry.path = path ? strlen(path) : 0;
    size_t left = entry.data;
    size_t size = sizeof entry + entry.path + left;
    char *text = malloc(size), *end = text + sizeof entry;
    memcpy(text, &entry, sizeof entry);
    if (path) end = mempcpy(end, path, entry.path);
    for (int n = 0; n < count && left; n++) {
        size_t part = data[n].iov_len < left ? data[n].iov_len : left;
        end = mempcpy(end, data[n].iov_base, part);
        left -= part;
    }
    if (real_write(record, text, size) != (ssize_t)size) abort();
    free(text);
    if (fails(DIE)) _exit(137);
    errno = error;
    return ++entries;
}

#define LOCKED(...) \
    pthread_mutex_lock(&mutex); \
    __VA_ARGS__; \
    pthread_mutex_unlock(&mutex)

/* Opening, and names */

static int opened(int fd, const char *path) {
    struct stat status;
    if (fd < 0 || fd >= FILES || fstat(fd, &status)) return fd;
    watched[fd] = strdup(path);
    inode[fd] = status.st_ino;
    return fd;
}

static int open_any(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    if (!is_below(path)) return real(path, flags, mode);
    if (fails(OPEN)) return -1;
    struct stat status;
    int fd;
    LOCKED({
        int is_new = flags & O_CREAT && stat(path, &status);
        fd = opened(real(path, flags, mode), path);
        if (fd >= 0 && is_new)
            note((struct entry){.kind = CREATED, .file = inode[fd]}, path, NULL, 0);
        else if (fd >= 0 && flags & O_TRUNC)
            note((struct entry){.kind = TRUNCATE, .file = inode[fd]}, path, NULL, 0);
    });
    return fd;
}

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return open_any(real, path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

int close(int fd) {
    REAL(close);
    if (is_watched(fd)) {
        char *path = watched[fd];
        watched[fd] = NULL;
        free(path);
    }
    return real(fd);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!is_below(to)) return real(from, to);
    if (fails(RENAME)) return -1;
    int result;
    struct iovec data = {(void *)to, strlen(to)};
    LOCKED({
        result = real(from, to);
        if (!result) note((struct entry){.kind = RENAME, .data = data.iov_len}, from, &data, 1);
    });
    return result;
}

int unlink(const char *path) {
    REAL(unlink);
    if (!is_below(path)) return real(path);
    if (fails(UNLINK)) return -1;
    int result;
    LOCKED({
        result = real(path);
        if (!result) note((struct entry){.kind = UNLINK}, path, NULL, 0);
    });
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!is_below(path)) return real(path, mode);
    if (fails(MAKE)) return -1;
    int result;
    LOCKED({
        result = real(path, mode);
        if (!result) note((struct entry){.kind = MAKE}, path, NULL, 0);
    });
    return result;
}

/* Syncs: what was written before one begins is on disk when it ends */

static int real_sync(int fd) {
    REAL(fdatasync);
    return real(fd);
}

static int sync_any(int (*real)(int), int fd, off_t from, size_t size) {
    uint64_t number = 0;
    struct entry entry = {.kind = SYNC, .file = inode[fd], .offset = from, .size = size};
    LOCKED(number = note(entry, watched[fd], NULL, 0));
    int result = fails(SYNC) ? -1 : real(fd);
    entry = (struct entry){.kind = SYNCED, .failed = result < 0, .size = number};
    LOCKED(note(entry, NULL, NULL, 0));
    return result;
}

#define SYNCING(name) \
    int name(int fd) { \
        REAL(name); \
        return is_watched(fd) ? sync_any(real, fd, 0, 0) : real(fd); \
    }
SYNCING(fsync)
SYNCING(fdatasync)

/* Writing */

static void sent(int fd, const struct iovec *data, int count) {
    struct stat status;
    if (record < 0 || fd == record || fstat(fd, &status) || !S_ISSOCK(status.st_mode)) return;
    struct entry entry = {.kind = SENT, .file = fd};
    for (int n = 0; n < count; n++) entry.data += data[n].iov_len;
    LOCKED(note(entry, NULL, data, count));
}

/* All writes to watched files end here; offset -1: at the file's own place. */
static ssize_t write_any(int fd, const struct iovec *data, int count, off_t offset, int flags) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "pwritev2");
    struct iovec half;
    if (fails(WRITE)) {
        if (control->error) return -1;
        half = (struct iovec){data->iov_base, (data->iov_len + 1) / 2};
        data = &half;
        count = 1;
    }
    ssize_t written;
    LOCKED({
        written = real(fd, data, count, offset, flags & ~RWF_DSYNC);
        if (written >= 0) {
            if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - written;
            struct entry entry = {.kind = WRITE, .data = written, .file = inode[fd]};
            entry.offset = offset;
            note(entry, watched[fd], data, count);
        }
    });
    if (written > 0 && control->pace) {
        int64_t rest = written * control->pace;
        nanosleep(&(struct timespec){rest / 1000000000, rest % 1000000000}, NULL);
    }
    if (written >= 0 && flags & RWF_DSYNC && sync_any(real_sync, fd, offset, written)) return -1;
    return written;
}

ssize_t write(int fd, const void *data, size_t size) {
    struct iovec one = {(void *)data, size};
    if (is_watched(fd)) return write_any(fd, &one, 1, -1, 0);
    sent(fd, &one, 1);
    return real_write(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    REAL(writev);
    if (is_watched(fd)) return write_any(fd, data, count, -1, 0);
    sent(fd, data, count);
    return real(fd, data, count);
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    REAL(send);
    sent(fd, &(struct iovec){(void *)data, size}, 1);
    return real(fd, data, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    sent(fd, message->msg_iov, message->msg_iovlen);
    return real(fd, message, flags);
}

#define WRITING(name) \
    ssize_t name(int fd, const void *data, size_t size, off_t offset) { \
        REAL(name); \
        struct iovec one = {(void *)data, size}; \
        return is_watched(fd) ? write_any(fd, &one, 1, offset, 0) : real(fd, data, size, offset); \
    }
WRITING(pwrite)
WRITING(pwrite64)

#define WRITING_MANY(name) \
    ssize_t name(int fd, const struct iovec *data, int count, off_t offset, int flags) { \
        REAL(name); \
        return is_watched(fd) ? write_any(fd, data, count, offset, flags) \
                              : real(fd, data, count, offset, flags); \
    }
WRITING_MANY(pwritev2)
WRITING_MANY(pwritev64v2)

#define TRUNCATING(name) \
    int name(int fd, off_t length) { \
        REAL(name); \
        if (!is_watched(fd)) return real(fd, length); \
        if (fails(TRUNCATE)) return -1; \
        int result; \
        LOCKED({ \
            result = real(fd, length); \
            struct entry entry = {.kind = TRUNCATE, .file = inode[fd], .offset = length}; \
            if (!result) note(entry, watched[fd], NULL, 0); \
        }); \
        return result; \
    }
TRUNCATING(ftruncate)
TRUNCATING(ftruncate64)

/* The time of day */

#define SECOND 1000000000ll

static int64_t time_of_day(int64_t now) {
    if (control->frozen) return control->frozen;
    now += control->shift;
    return control->leap && now >= control->leap ? now - SECOND : now;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t told = time_of_day(now->tv_sec * SECOND + now->tv_nsec);
        now->tv_sec = told / SECOND;
        now->tv_nsec = told % SECOND;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec told;
    clock_gettime(CLOCK_REALTIME, &told);
    now->tv_sec = told.tv_sec;
    now->tv_usec = told.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec told;
    clock_gettime(CLOCK_REALTIME, &told);
    if (place) *place = told.tv_sec;
    return told.tv_sec;
}
