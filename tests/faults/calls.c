/* The calls of the C library that are intercepted. What becomes of each is decided in `rules.c`.

   Whatever goes to a file through another function of libc than these (stdio's own writes, mmap)
   or by a bare system call passes. */

#define _GNU_SOURCE
#include "rules.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* The C library's own function of this name. */
#define REAL(name)                                             \
    static __typeof__(name) *real;                             \
    if (!real)                                                 \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* One path. */
#define PATH_CALL(op, fd, path, made)                          \
    struct call call;                                          \
    if (before(&call, op, 0, NULL, fd, path))                  \
        return -1;                                             \
    return after(&call, made)

/* One file descriptor. */
#define FD_CALL(op, fd, made)                                  \
    struct call call;                                          \
    if (before_fd(&call, op, fd))                              \
        return -1;                                             \
    return after(&call, made)

#define MODE(flags)                                            \
    mode_t mode = 0;                                           \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                   \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }

#define OPENING(flags) (OPEN | ((flags) & O_CREAT ? CREATE : 0))

/* A machine of its own for this process: its boot id, where FAULTS_MACHINE names one. */
static int boot_id(const char *path)
{
    const char *machine = getenv("FAULTS_MACHINE");
    if (!machine || strcmp(path, BOOT_ID))
        return -1;
    int fd = memfd_create("boot_id", MFD_CLOEXEC);
    dprintf(fd, "%s\n", machine);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

#define OPEN_AS(name)                                          \
    int name(const char *path, int flags, ...)                 \
    {                                                          \
        REAL(name);                                            \
        MODE(flags);                                           \
        int fd = boot_id(path);                                \
        if (fd >= 0)                                           \
            return fd;                                         \
        PATH_CALL(OPENING(flags), AT_FDCWD, path, real(path, flags, mode)); \
    }
#define OPENAT_AS(name)                                        \
    int name(int folder, const char *path, int flags, ...)     \
    {                                                          \
        REAL(name);                                            \
        MODE(flags);                                           \
        PATH_CALL(OPENING(flags), folder, path, real(folder, path, flags, mode)); \
    }
OPEN_AS(open)
OPEN_AS(open64)
OPENAT_AS(openat)
OPENAT_AS(openat64)

#define FOPEN_AS(name)                                         \
    FILE *name(const char *path, const char *mode)             \
    {                                                          \
        REAL(name);                                            \
        struct call call;                                      \
        if (before(&call, OPENING(strchr("wa", mode[0]) ? O_CREAT : 0), 0, NULL, AT_FDCWD, path)) \
            return NULL;                                       \
        return real(path, mode);                               \
    }
FOPEN_AS(fopen)
FOPEN_AS(fopen64)

#define TRANSFER_AS(name, op, data_t)                          \
    ssize_t name(int fd, data_t data, size_t size)             \
    {                                                          \
        REAL(name);                                            \
        FD_CALL(op, fd, real(fd, data, allowed(&call, size))); \
    }
#define TRANSFER_AT_AS(name, op, data_t)                       \
    ssize_t name(int fd, data_t data, size_t size, off_t at)   \
    {                                                          \
        REAL(name);                                            \
        FD_CALL(op, fd, real(fd, data, allowed(&call, size), at)); \
    }
TRANSFER_AS(read, READ, void *)
TRANSFER_AS(write, WRITE, const void *)
TRANSFER_AT_AS(pread, READ, void *)
TRANSFER_AT_AS(pread64, READ, void *)
TRANSFER_AT_AS(pwrite, WRITE, const void *)
TRANSFER_AT_AS(pwrite64, WRITE, const void *)

/* Of several buffers, a short transfer takes the first half of the first. */
static const struct iovec *allowed_buffers(const struct call *call, const struct iovec *buffers,
                                           int *number, struct iovec *first)
{
    if (!call->is_short || *number < 1)
        return buffers;
    *first = (struct iovec){buffers->iov_base, allowed(call, buffers->iov_len)};
    *number = 1;
    return first;
}

#define VECTOR_AS(name, op, parameters, ...)                   \
    ssize_t name parameters                                    \
    {                                                          \
        REAL(name);                                            \
        struct call call;                                      \
        struct iovec first;                                    \
        if (before_fd(&call, op, fd))                          \
            return -1;                                         \
        buffers = allowed_buffers(&call, buffers, &number, &first); \
        return after(&call, real(fd, buffers, number __VA_ARGS__)); \
    }
#define COMMA ,
VECTOR_AS(readv, READ, (int fd, const struct iovec *buffers, int number))
VECTOR_AS(writev, WRITE, (int fd, const struct iovec *buffers, int number))
VECTOR_AS(preadv, READ, (int fd, const struct iovec *buffers, int number, off_t at), COMMA at)
VECTOR_AS(preadv64, READ, (int fd, const struct iovec *buffers, int number, off_t at), COMMA at)
VECTOR_AS(pwritev, WRITE, (int fd, const struct iovec *buffers, int number, off_t at), COMMA at)
VECTOR_AS(pwritev64, WRITE, (int fd, const struct iovec *buffers, int number, off_t at), COMMA at)
VECTOR_AS(preadv64v2, READ,
          (int fd, const struct iovec *buffers, int number, off64_t at, int flags),
          COMMA at COMMA flags)
VECTOR_AS(pwritev64v2, WRITE,
          (int fd, const struct iovec *buffers, int number, off64_t at, int flags),
          COMMA at COMMA flags)

ssize_t copy_file_range(int in, off64_t *in_at, int fd, off64_t *at, size_t size, unsigned flags)
{
    REAL(copy_file_range);
    FD_CALL(COPY, fd, real(in, in_at, fd, at, allowed(&call, size), flags));
}

ssize_t sendfile64(int fd, int in, off64_t *at, size_t size)
{
    REAL(sendfile64);
    FD_CALL(COPY, fd, real(fd, in, at, allowed(&call, size)));
}

int fsync(int fd)
{
    REAL(fsync);
    FD_CALL(FSYNC, fd, real(fd));
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    FD_CALL(FSYNC, fd, real(fd));
}

/* The descriptor is gone, whatever close reports. */
int close(int fd)
{
    REAL(close);
    struct call call;
    int error = before_fd(&call, CLOSE, fd) ? errno : 0;
    int result = real(fd);
    if (error) {
        errno = error;
        return -1;
    }
    return after(&call, result);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(ftruncate64);
    FD_CALL(TRUNCATE, fd, real(fd, size));
}

#define TWO_PATHS(op, from_fd, from, to_fd, to, made)          \
    struct call call;                                          \
    if (before(&call, op, from_fd, from, to_fd, to))           \
        return -1;                                             \
    return after(&call, made)

int rename(const char *from, const char *to)
{
    REAL(rename);
    TWO_PATHS(RENAME, AT_FDCWD, from, AT_FDCWD, to, real(from, to));
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(renameat);
    TWO_PATHS(RENAME, from_fd, from, to_fd, to, real(from_fd, from, to_fd, to));
}

int link(const char *from, const char *to)
{
    REAL(link);
    TWO_PATHS(LINK, AT_FDCWD, from, AT_FDCWD, to, real(from, to));
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    REAL(linkat);
    TWO_PATHS(LINK, from_fd, from, to_fd, to, real(from_fd, from, to_fd, to, flags));
}

int unlink(const char *path)
{
    REAL(unlink);
    PATH_CALL(UNLINK, AT_FDCWD, path, real(path));
}

int unlinkat(int folder, const char *path, int flags)
{
    REAL(unlinkat);
    PATH_CALL(UNLINK, folder, path, real(folder, path, flags));
}

int rmdir(const char *path)
{
    REAL(rmdir);
    PATH_CALL(UNLINK, AT_FDCWD, path, real(path));
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    PATH_CALL(MKDIR, AT_FDCWD, path, real(path, mode));
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    REAL(mkdirat);
    PATH_CALL(MKDIR, folder, path, real(folder, path, mode));
}

#define STAT_AS(name, stat_t)                                  \
    int name(const char *path, stat_t *info)                   \
    {                                                          \
        REAL(name);                                            \
        PATH_CALL(STAT, AT_FDCWD, path, real(path, info));     \
    }
STAT_AS(stat, struct stat)
STAT_AS(stat64, struct stat64)
STAT_AS(lstat, struct stat)
STAT_AS(lstat64, struct stat64)

int fstatat64(int folder, const char *path, struct stat64 *info, int flags)
{
    REAL(fstatat64);
    PATH_CALL(STAT, folder, path, real(folder, path, info, flags));
}

/* Of programs that were built for a C library older than 2.33. */
#define OLD_STAT_AS(name)                                      \
    int name(int version, const char *path, struct stat64 *info); \
    int name(int version, const char *path, struct stat64 *info) \
    {                                                          \
        REAL(name);                                            \
        PATH_CALL(STAT, AT_FDCWD, path, real(version, path, info)); \
    }
OLD_STAT_AS(__xstat64)
OLD_STAT_AS(__lxstat64)

int statx(int folder, const char *path, int flags, unsigned mask, struct statx *info)
{
    REAL(statx);
    PATH_CALL(STAT, folder, path, real(folder, path, flags, mask, info));
}

int access(const char *path, int mode)
{
    REAL(access);
    PATH_CALL(STAT, AT_FDCWD, path, real(path, mode));
}

DIR *opendir(const char *path)
{
    REAL(opendir);
    struct call call;
    return before(&call, LIST, 0, NULL, AT_FDCWD, path) ? NULL : real(path);
}

struct dirent64 *readdir64(DIR *folder)
{
    REAL(readdir64);
    struct dirent64 *entry = real(folder);
    while (entry && is_unlisted(dirfd(folder), entry->d_name))
        entry = real(folder);
    return entry;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    REAL(clock_gettime);
    int result = real(clock, time);
    double shift = clock == CLOCK_REALTIME ? clock_shift() : 0;
    time->tv_sec += (time_t)floor(shift);
    return result;
}

int gethostname(char *name, size_t size)
{
    REAL(gethostname);
    const char *host = getenv("FAULTS_HOST");
    if (!host)
        return real(name, size);
    strncpy(name, host, size);
    return 0;
}
