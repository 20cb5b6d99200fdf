/* The rules of the fault-injecting library: what `rules.c` decides and `calls.c` asks. */

#include <stddef.h>
#include <stdint.h>

/* Operations, as bits. Keep in step with faults.py. */
enum {
    OPEN = 1 << 0,      /* open, openat, fopen */
    CREATE = 1 << 1,    /* of these, the ones with O_CREAT */
    READ = 1 << 2,      /* read, pread, readv, preadv */
    WRITE = 1 << 3,     /* write, pwrite, writev, pwritev */
    COPY = 1 << 4,      /* copy_file_range, sendfile */
    FSYNC = 1 << 5,     /* fsync, fdatasync */
    CLOSE = 1 << 6,
    RENAME = 1 << 7,
    LINK = 1 << 8,
    UNLINK = 1 << 9,    /* unlink, rmdir */
    MKDIR = 1 << 10,
    STAT = 1 << 11,     /* stat, lstat, fstatat, statx, access */
    LIST = 1 << 12,     /* opendir, readdir */
    TRUNCATE = 1 << 13, /* truncate, ftruncate */
    CLOCK = 1 << 14,    /* clock_gettime(CLOCK_REALTIME) */
};

enum action { FAIL, SHORT, DELAY, NEGATIVE, KILL, STOP, SHIFT };

#define PATH_BYTES 4096

/* One intercepted call. */
struct call {
    uint32_t op;
    int is_short;           /* do only half of it */
    int error_after;        /* errno to report although the call succeeded */
    int signal_after;       /* signal to send to this process once it is done */
    double negative_s;      /* remember for so long that the path was not there */
    char path[PATH_BYTES];
};

/* Returns -1 with errno set where the call must fail without being made. `name` is the path that
   the operation makes or looks at; `from` the other path of a rename or link, or NULL. */
int before(struct call *call, uint32_t op, int from_fd, const char *from, int name_fd,
           const char *name);
int before_fd(struct call *call, uint32_t op, int fd);

/* Returns what the caller is to be told of a call that returned `result`. */
long after(struct call *call, long result);

/* How many bytes of `size` a call may transfer. */
size_t allowed(const struct call *call, size_t size);

/* Whether a folder's cached listing lacks this entry, which somebody else made. */
int is_unlisted(int folder_fd, const char *name);

/* Seconds by which this process's clock is wrong. */
double clock_shift(void);
