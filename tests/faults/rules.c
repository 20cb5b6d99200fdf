/* Decides which calls fail. Rules are records in a file that `faults.py` writes and this maps, so
   that they can change while processes run, and so that all processes share their counters. */

#define _GNU_SOURCE
#include "rules.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NUM_RULES 64
#define NUM_NAMES 8192
#define ANY_CREATION (CREATE | LINK | RENAME | MKDIR)

struct rule {
    _Atomic uint32_t is_active;
    uint32_t ops;
    uint32_t action;
    int32_t error;
    uint32_t is_after; /* do it, then report failure */
    uint32_t unused;
    uint64_t skip;     /* first so many matching calls pass */
    uint64_t times;    /* then so many fail; 0: all */
    uint64_t seed;
    double chance;
    double seconds;    /* of a delay, a negative look-up, a clock's shift */
    double until;      /* monotonic time after which the rule is off; 0: never */
    _Atomic uint64_t num_seen;
    _Atomic uint64_t num_fired;
    char path[512];
    char who[64];
};

static struct rule *rules;
static const char *who, *log_path;

/* What this process believes of a path, by the path's hash. */
static struct { uint64_t hash; double missing_until; double listed_at; int is_mine; } names[NUM_NAMES];
static atomic_flag names_lock = ATOMIC_FLAG_INIT;

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("FAULTS_RULES");
    if (!path)
        return;
    who = getenv("FAULTS_WHO") ? getenv("FAULTS_WHO") : "";
    log_path = getenv("FAULTS_LOG");
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    void *map = mmap(NULL, NUM_RULES * sizeof *rules, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        fprintf(stderr, "faults: %s cannot be mapped\n", path);
        abort();
    }
    syscall(SYS_close, fd);
    rules = map;
}

static double now(clockid_t clock)
{
    struct timespec time;
    syscall(SYS_clock_gettime, clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void note(const char *action, const struct call *call)
{
    if (!log_path)
        return;
    char line[PATH_BYTES + 128];
    int length = snprintf(line, sizeof line, "%d\t%s\t%s\t%u\t%s\n", getpid(), who, action,
                          call->op, call->path);
    int fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    syscall(SYS_write, fd, line, length);
    syscall(SYS_close, fd);
}

static void absolute(char *out, int fd, const char *path)
{
    out[0] = 0;
    if (!path || path[0] != '/') {
        char link[64];
        snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
        long length = syscall(SYS_readlink, link, out, PATH_BYTES / 2);
        out[length > 0 ? length : 0] = 0;
        if (!path || !path[0])
            return;
        strcat(out, "/");
    }
    strncat(out, path, PATH_BYTES - strlen(out) - 1);
}

static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Index of what is known of a path; the caller holds the lock. */
static size_t name_index(const char *path)
{
    uint64_t hash = 1469598103934665603u;
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 1099511628211u;
    hash |= !hash;
    size_t index = hash % NUM_NAMES, tried = 0;
    while (names[index].hash && names[index].hash != hash && tried++ < 64)
        index = (index + 1) % NUM_NAMES;
    if (names[index].hash != hash)
        memset(&names[index], 0, sizeof names[index]);
    names[index].hash = hash;
    return index;
}

static void lock(void)
{
    while (atomic_flag_test_and_set(&names_lock))
        ;
}

static void unlock(void) { atomic_flag_clear(&names_lock); }

static void remember_missing(const char *path, double seconds)
{
    lock();
    size_t index = name_index(path);
    if (names[index].missing_until < now(CLOCK_MONOTONIC))
        names[index].missing_until = now(CLOCK_MONOTONIC) + seconds;
    unlock();
}

static void remember_mine(const char *path)
{
    lock();
    size_t index = name_index(path);
    names[index].missing_until = 0;
    names[index].is_mine = 1;
    unlock();
}

static int is_remembered_missing(const char *path)
{
    lock();
    int missing = names[name_index(path)].missing_until > now(CLOCK_MONOTONIC);
    unlock();
    return missing;
}

static int applies(const struct rule *rule, const struct call *call, const char *from)
{
    if (!rule->is_active || !(rule->ops & call->op) || fnmatch(rule->who, who, 0))
        return 0;
    if (rule->until && now(CLOCK_MONOTONIC) > rule->until)
        return 0;
    return !fnmatch(rule->path, call->path, 0) || (from && !fnmatch(rule->path, from, 0));
}

/* Counts the call, and tells whether the rule fires this time. */
static int fires(struct rule *rule)
{
    uint64_t number = rule->num_seen++;
    if (number < rule->skip)
        return 0;
    if (rule->chance < 1 && (mixed(rule->seed ^ mixed(number)) >> 11) * 0x1p-53 >= rule->chance)
        return 0;
    if (rule->num_fired++ < rule->times || !rule->times)
        return 1;
    rule->num_fired--;
    return 0;
}

/* Waits as one does for a filesystem that hangs: in the kernel, where only SIGKILL gets through. A
   thread waits like that for a child of vfork to end. */
static void hold(const struct rule *rule)
{
    double until = now(CLOCK_MONOTONIC) + rule->seconds;
    pid_t child = vfork();
    if (child == 0) {
        struct timespec pause = {0, 5000000};
        syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
        while (rule->is_active && now(CLOCK_MONOTONIC) < until)
            syscall(SYS_nanosleep, &pause, NULL);
        _exit(0);
    }
    syscall(SYS_wait4, child, NULL, __WALL, NULL);
}

/* Negative look-ups: -1 where the path is still believed to be missing. */
static int look_up(const struct rule *rule, struct call *call)
{
    if (call->op & ANY_CREATION) {
        remember_mine(call->path);
        return 0;
    }
    if (!(call->op & (OPEN | STAT)))
        return 0;
    if (is_remembered_missing(call->path)) {
        note("negative", call);
        errno = ENOENT;
        return -1;
    }
    call->negative_s = rule->seconds;
    return 0;
}

static int act(struct rule *rule, struct call *call)
{
    if (rule->action == NEGATIVE)
        return look_up(rule, call);
    if (!fires(rule))
        return 0;
    switch (rule->action) {
    case FAIL:
        note(rule->is_after ? "fail after" : "fail", call);
        if (rule->is_after) {
            call->error_after = rule->error;
            call->is_short |= call->op & WRITE;
            return 0;
        }
        errno = rule->error;
        return -1;
    case SHORT:
        note("short", call);
        call->is_short = 1;
        return 0;
    case DELAY:
        note("delay", call);
        hold(rule);
        return 0;
    case KILL:
    case STOP:
        note(rule->action == KILL ? "kill" : "stop", call);
        if (rule->is_after)
            call->signal_after = rule->action == KILL ? SIGKILL : SIGSTOP;
        else
            kill(getpid(), rule->action == KILL ? SIGKILL : SIGSTOP);
    }
    return 0;
}

int before(struct call *call, uint32_t op, int from_fd, const char *from, int name_fd,
           const char *name)
{
    call->op = op;
    call->is_short = call->error_after = call->signal_after = 0;
    call->negative_s = 0;
    uint32_t wanted = 0;
    for (size_t i = 0; rules && i < NUM_RULES; i++)
        wanted |= rules[i].is_active ? rules[i].ops : 0;
    if (!(wanted & op))
        return 0;
    int saved = errno;
    char other[PATH_BYTES];
    absolute(call->path, name_fd, name);
    if (from)
        absolute(other, from_fd, from);
    for (size_t i = 0; i < NUM_RULES; i++)
        if (applies(&rules[i], call, from ? other : NULL) && act(&rules[i], call))
            return -1;
    errno = saved;
    return 0;
}

int before_fd(struct call *call, uint32_t op, int fd) { return before(call, op, 0, NULL, fd, NULL); }

long after(struct call *call, long result)
{
    if (call->signal_after)
        kill(getpid(), call->signal_after);
    if (call->negative_s && result == -1 && errno == ENOENT)
        remember_missing(call->path, call->negative_s), errno = ENOENT;
    if (!call->error_after || result == -1)
        return result;
    errno = call->error_after;
    return -1;
}

size_t allowed(const struct call *call, size_t size)
{
    return call->is_short && size > 1 ? size / 2 : size;
}

int is_unlisted(int folder_fd, const char *name)
{
    struct call call = {.op = LIST};
    struct rule *rule = NULL;
    absolute(call.path, folder_fd, NULL);
    for (size_t i = 0; rules && i < NUM_RULES && !rule; i++)
        if (rules[i].action == NEGATIVE && applies(&rules[i], &call, NULL))
            rule = &rules[i];
    if (!rule)
        return 0;
    lock();
    size_t index = name_index(call.path);
    double time = now(CLOCK_REALTIME_COARSE); /* what files are dated by */
    if (names[index].listed_at + rule->seconds < time)
        names[index].listed_at = time;
    double listed_at = names[index].listed_at;
    unlock();
    if (!strcmp(name, ".") || !strcmp(name, ".."))
        return 0;
    absolute(call.path, folder_fd, name);
    struct statx info;
    if (syscall(SYS_statx, AT_FDCWD, call.path, AT_SYMLINK_NOFOLLOW, STATX_BTIME, &info))
        return 0;
    double born = info.stx_btime.tv_sec + info.stx_btime.tv_nsec / 1e9;
    lock();
    int is_new = born > listed_at && !names[name_index(call.path)].is_mine;
    unlock();
    if (is_new)
        note("unlisted", &call);
    return is_new;
}

double clock_shift(void)
{
    double shift = 0;
    for (size_t i = 0; rules && i < NUM_RULES; i++)
        if (rules[i].is_active && rules[i].action == SHIFT && !fnmatch(rules[i].who, who, 0))
            shift += rules[i].seconds;
    return shift;
}
