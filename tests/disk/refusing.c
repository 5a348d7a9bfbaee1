/* A disk that refuses: stands between a process and the C library (LD_PRELOAD), for files below one directory.

   arm("/dir", kinds, n, errno, stays): the n-th call of these kinds fails with this error, and all later ones too where it
   stays. The call is not made then. passed() says how many there were. SQLite's calls are seen like Python's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITES = 1, SYNCS = 2, NAMES = 4 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char below[PATH_MAX];
static int kinds, error_number, is_lasting;
static long nth, count;

void arm(const char *directory, int which, long n, int error, int stays) {
    pthread_mutex_lock(&lock);
    snprintf(below, sizeof below, "%s/", directory);
    kinds = which, nth = n, error_number = error, is_lasting = stays, count = 0;
    pthread_mutex_unlock(&lock);
}

long passed(void) { return count; }

static int refuses(int kind, const char *path) {
    if (!(kinds & kind) || !path || strncmp(path, below, strlen(below)) != 0) return 0;
    pthread_mutex_lock(&lock);
    long now = ++count;
    pthread_mutex_unlock(&lock);
    if (now != nth && !(is_lasting && now > nth)) return 0;
    errno = error_number;
    return 1;
}

static int refuses_file(int kind, int file) {
    char link[64], path[PATH_MAX];
    if (!(kinds & kind)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 2);
    if (length < 0) return 0;
    path[length] = '/', path[length + 1] = 0; /* the directory itself is below itself */
    return refuses(kind, path);
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *data, size_t size) {
    NEXT(write);
    return refuses_file(WRITES, file) ? -1 : next(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    NEXT(pwrite);
    return refuses_file(WRITES, file) ? -1 : next(file, data, size, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    NEXT(pwrite64);
    return refuses_file(WRITES, file) ? -1 : next(file, data, size, at);
}

int ftruncate(int file, off_t size) {
    NEXT(ftruncate);
    return refuses_file(WRITES, file) ? -1 : next(file, size);
}

int ftruncate64(int file, off64_t size) {
    NEXT(ftruncate64);
    return refuses_file(WRITES, file) ? -1 : next(file, size);
}

int fsync(int file) {
    NEXT(fsync);
    return refuses_file(SYNCS, file) ? -1 : next(file);
}

int fdatasync(int file) {
    NEXT(fdatasync);
    return refuses_file(SYNCS, file) ? -1 : next(file);
}

int rename(const char *old, const char *new) {
    NEXT(rename);
    return refuses(NAMES, new) ? -1 : next(old, new);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    return refuses(NAMES, path) ? -1 : next(path, mode);
}

static mode_t mode_of(int flags, va_list rest) { return flags & O_CREAT ? va_arg(rest, mode_t) : 0; }

static int refuses_open(const char *path, int flags) { return (flags & O_CREAT) && refuses(NAMES, path); }

int open(const char *path, int flags, ...) {
    NEXT(open);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return refuses_open(path, flags) ? -1 : next(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    NEXT(open64);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return refuses_open(path, flags) ? -1 : next(path, flags, mode);
}
