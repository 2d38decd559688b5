/* parallel.c: threads, and the only file that knows OpenMP.
 *
 * What can go wrong with an OpenMP runtime inside somebody else's process, and what is done about it:
 *   fork      GNU's runtime keeps a team of threads for every thread that ever ran a region. A forked child inherits
 *             the record of that team but not its threads, and would wait for them for ever. So the forking thread's
 *             team is dissolved before every fork, whoever made it; parent and child start a new one when they next
 *             need it. The teams of other threads are left alone, and so is a region that runs in one of them: those
 *             threads do not exist in the child.
 *   late load In a process that was forked before this library was loaded, somebody else may have used the same runtime
 *             before the fork. There is no way to ask, so such a process stays serial.
 *   crowding  One region at a time and never inside another: N callers with M threads each would make N x M.
 *   stalls    A thread that starts late, or not at all for a while, holds back no work, but the team's end waits for
 *             it. So a sleeping team is woken up for large work only, or for many calls if there is a free processor;
 *             and what regions gain and lose is kept count of. */
#include "fastln.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"

/* GNU's runtime ends the process when it cannot start a thread, so absurd requests must not get there. */
#define MAX_THREADS 1024

static fastln_atomic requested_threads;   /* by set_num_threads; 0: use the default */
static fastln_atomic environment_threads; /* by the environment at import; 0: not set */

/* When a team is worth it; measured. Values are those of an array, times are nanoseconds. */
enum {
    AWAKE_VALUES = 1 << 16,  /* while the team is awake */
    ASLEEP_VALUES = 1 << 19, /* when it has to be woken up */
    AWAKE = 8000000,         /* since the last region: the threads spin for some 10 ms ... */
    ASLEEP = 100000000,      /* ... and for sure no longer than this */
    QUICK = 4,               /* a value: a call that follows another one so soon may be one of many, ... */
    QUICK_CALLS = 32,        /* ... for which the team is worth waking up */
    BUSY_CALLS = 200,        /* that stay serial when no processor was free; to ask costs half of such a call */
    FIRST_CREDIT = 5000000,  /* for starting threads, and for one bad region */
    MOST_CREDIT = 10000000,
    MOST_DEBT = 500000,
    WAITING = 10,       /* after it, serial calls take so many times what was lost; ... */
    SERIAL_CALLS = 200, /* ... and are at least so many */
};

static int min_int(long long a, int b) { return a < b ? (int)a : b; }

/* A positive decimal number, followed by nothing or by one of the characters in `after`; 0 for anything else. */
static long parse_count(const char *text, const char *after) {
    char *end;
    if (*text < '0' || *text > '9') return 0;
    long value = strtol(text, &end, 10);
    return *end && !strchr(after, *end) ? 0 : value;
}

/* Returns what is wrong with the environment, or NULL. It is read only here: getenv() is not safe beside a setenv()
 * in another thread, and import is the one moment when the caller holds the GIL for sure. */
static const char *read_environment(void) {
    static char error[160];
    const char *text = getenv("FASTLN_NUM_THREADS");
    if (text && *text) {
        long n = parse_count(text, "");
        if (n < 1 || n > MAX_THREADS) {
            snprintf(error, sizeof error, "FASTLN_NUM_THREADS: expected a whole number from 1 to %d, got '%.64s'",
                     MAX_THREADS, text);
            return error;
        }
        fastln_store(&environment_threads, n);
        return NULL;
    }
    text = getenv("OMP_NUM_THREADS"); /* a list, one item per level of nesting; a wrong one is ignored, as by OpenMP */
    if (text) text += strspn(text, " \t");
    fastln_store(&environment_threads, text ? min_int(parse_count(text, ", \t"), MAX_THREADS) : 0);
    return NULL;
}

#ifdef _OPENMP

#include <limits.h>
#include <omp.h>

#ifdef __linux__
#include <unistd.h>
#ifndef FASTLN_ROOT
#define FASTLN_ROOT "" /* the tests look below another root, at a made-up /proc and /sys */
#endif

enum { LINE = 1024, PATH = 3 * LINE };

static int read_text(const char *directory, const char *name, char text[LINE]) {
    char path[PATH + 32];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, LINE - 1, file) : 0;
    if (file) fclose(file);
    text[n] = '\0';
    return n > 0;
}

/* PF_FORKNOEXEC, in the flags of /proc/self/stat: this process was forked and never called exec(). */
static int was_forked(void) {
    char text[LINE];
    unsigned long flags = 0;
    read_text(FASTLN_ROOT "/proc/self", "stat", text);
    const char *rest = strrchr(text, ')'); /* "pid (name) state ...", and the name may hold anything */
    return rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 && flags & 0x40;
}

/* Processors on which nothing runs but the calling thread, which is counted; a guess, made to be quick. */
static int free_processors(void) {
    char text[LINE];
    int running = 1;
    read_text(FASTLN_ROOT "/proc", "loadavg", text); /* "0.20 0.18 0.12 1/80 11206": running of all there are */
    sscanf(text, "%*s %*s %*s %d/", &running);
    return (int)sysconf(_SC_NPROCESSORS_ONLN) + 1 - running;
}

static int lists_cpu(const char *list) { /* "rw,cpu,cpuacct" does, "rw,cpuset" does not */
    char padded[LINE + 2];
    snprintf(padded, sizeof padded, ",%s,", list);
    return strstr(padded, ",cpu,") != NULL;
}

/* This process's path in the hierarchy of version 2 or, for version 1, in that of the cpu controller. */
static int own_group(int version, char group[LINE]) {
    char line[LINE], controllers[LINE];
    int found = 0;
    FILE *file = fopen(FASTLN_ROOT "/proc/self/cgroup", "re");
    while (file && !found && fgets(line, LINE, file))
        found = version == 2 ? sscanf(line, "0::%[^\n]", group) == 1
                             : sscanf(line, "%*d:%[^:]:%[^\n]", controllers, group) == 2 && lists_cpu(controllers);
    if (file) fclose(file);
    return found;
}

/* How many processors one group's quota comes to, rounded up; INT_MAX if it has none ("max", -1, no such file). */
static int group_quota(int version, const char *directory) {
    char text[LINE];
    long long time = 0, period = 0;
    if (version == 2 && read_text(directory, "cpu.max", text)) sscanf(text, "%lld %lld", &time, &period);
    if (version == 1 && read_text(directory, "cpu.cfs_quota_us", text) && sscanf(text, "%lld", &time) == 1 &&
        read_text(directory, "cpu.cfs_period_us", text))
        sscanf(text, "%lld", &period);
    return time > 0 && period > 0 ? min_int((time - 1) / period + 1, INT_MAX) : INT_MAX;
}

/* The least quota of the own group and of all its ancestors, in every hierarchy that is mounted. */
static int quota(void) {
    int least = INT_MAX;
    char line[LINE], root[LINE], mount[LINE], type[LINE], options[LINE], group[LINE], directory[PATH];
    FILE *file = fopen(FASTLN_ROOT "/proc/self/mountinfo", "re");
    while (file && fgets(line, LINE, file)) {
        /* id parent major:minor ROOT MOUNT options optional-fields... - TYPE source OPTIONS */
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %*s %s %s", root, mount) != 2 ||
            sscanf(rest, " - %s %*s %s", type, options) != 2)
            continue;
        int version = strcmp(type, "cgroup2") == 0 ? 2 : strcmp(type, "cgroup") == 0 && lists_cpu(options);
        if (!version || !own_group(version, group)) continue;
        /* A container may see only a part of the hierarchy, from ROOT down; a group outside it is out of reach. */
        size_t prefix = strcmp(root, "/") == 0 ? 0 : strlen(root);
        int inside = strncmp(group, root, prefix) == 0 && group[prefix] == '/' && !strstr(group, "/..");
        size_t top = (size_t)snprintf(directory, sizeof directory, FASTLN_ROOT "%s", mount);
        snprintf(directory + top, sizeof directory - top, "%s", inside ? group + prefix : "");
        char *end;
        do {
            least = min_int(group_quota(version, directory), least);
            if ((end = strrchr(directory + top, '/'))) *end = '\0';
        } while (end);
    }
    if (file) fclose(file);
    return least;
}
#else
static int quota(void) { return INT_MAX; }
static int was_forked(void) { return 0; }
static int free_processors(void) { return INT_MAX; }
#endif

#define QUOTE_(x) #x
#define QUOTE(x) QUOTE_(x)
#define RUNTIME "OpenMP " QUOTE(_OPENMP)

static fastln_atomic serial; /* why this process must not start threads: an index into `runtimes`; 0: it may */
static const char *const runtimes[] = {RUNTIME, RUNTIME ", serial: loaded in a forked process",
                                       RUNTIME ", serial: forked, and this OpenMP cannot be paused"};
static fastln_atomic busy;            /* the gate: 1 while a region is under way */
static fastln_atomic default_threads; /* 0: not known yet */

/* Nanoseconds that regions have saved, less what they have cost. A team that the system does not run, because its
 * processors are busy, makes the caller wait for milliseconds. Gains are remembered up to a limit. When they are used
 * up, the next calls stay serial: so many that the waiting is a small part of them, and seldom. */
static fastln_atomic balance = FIRST_CREDIT;
static fastln_atomic serial_calls; /* how many are left */
static fastln_atomic last_end;     /* of a region, in nanoseconds */
static fastln_atomic last_call;    /* too small for a team that sleeps */
static fastln_atomic quick_calls;  /* one soon after the other */
static fastln_atomic careless;     /* for tests: threads whenever they may be used, whatever they cost */

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>

/* omp_pause_resource_all() is OpenMP 5.0. GCC has had it since 9, though 12 still calls itself 4.5; and a wheel may
 * meet an older runtime than the compiler's, hence weak. */
#if _OPENMP >= 201811 || (__GNUC__ >= 9 && !defined(__clang__))
#pragma weak omp_pause_resource_all
static int can_pause(void) { return omp_pause_resource_all != NULL; }
static void pause_team(void) {
    if (can_pause()) omp_pause_resource_all(omp_pause_soft);
}
#else
static int can_pause(void) { return 0; }
static void pause_team(void) {}
#endif

/* On either side there is no team then, nor any experience with one. */
static void before_fork(void) {
    pause_team();
    fastln_store(&balance, FIRST_CREDIT);
    fastln_store(&serial_calls, 0);
    fastln_store(&last_end, 0);
}

static void in_child(void) {
    fastln_store(&busy, 0);            /* whoever held the gate was another thread */
    fastln_store(&default_threads, 0); /* the child may be moved to other processors and groups */
    if (!can_pause()) fastln_store(&serial, 2);
}
static void watch_forks(void) { pthread_atfork(before_fork, NULL, in_child); }
#else
static void watch_forks(void) {}
#endif

const char *fastln_parallel_init(void) {
    static fastln_atomic done;
    if (!fastln_exchange(&done, 1)) {
        fastln_store(&serial, was_forked());
        watch_forks();
    }
    return read_environment();
}

const char *fastln_parallel_runtime(void) { return runtimes[fastln_load(&serial)]; }

/* Looked up when first needed, not at import. omp_get_num_procs() knows the affinity, also one set by OMP_PROC_BIND. */
static int find_default(void) {
    if (fastln_load(&serial)) return 1;
    int n = (int)fastln_load(&default_threads);
    if (!n) {
        n = (int)fastln_load(&environment_threads);
        if (!n) n = min_int(min_int(omp_get_num_procs(), quota()), MAX_THREADS);
        fastln_store(&default_threads, n);
    }
    return n;
}

static intptr_t nanoseconds(void) { return (intptr_t)(omp_get_wtime() * 1e9); }

/* After a region that would have taken `alone` with one thread, and whose caller had no more work from `done` on. A
 * caller that is held up for long before that, although a processor is free, would have been so without a team: it is
 * the machine. */
static void settle(intptr_t begin, intptr_t done, intptr_t alone) {
    intptr_t end = nanoseconds(), own = done - begin;
    if (own > alone + MOST_DEBT && free_processors() >= 1) own = alone;
    intptr_t sum = fastln_load(&balance) + alone - own - (end - done);
    if (sum < -MOST_DEBT) {
        intptr_t calls = -sum / (alone / WAITING + 1);
        fastln_store(&serial_calls, calls > SERIAL_CALLS ? calls : SERIAL_CALLS);
        sum = 0;
    }
    fastln_store(&balance, sum < MOST_CREDIT ? sum : MOST_CREDIT);
    fastln_store(&last_end, end);
}

/* Whether a call for so many values follows others so soon that more will come. */
static int is_one_of_many(ptrdiff_t values, intptr_t now) {
    intptr_t since = now - fastln_exchange(&last_call, now);
    if (since < values * QUICK) return fastln_fetch_add(&quick_calls, 1) >= QUICK_CALLS;
    fastln_store(&quick_calls, 0);
    return 0;
}

int fastln_worthwhile_threads(ptrdiff_t values) {
    int threads = values < AWAKE_VALUES ? 1 : fastln_get_num_threads(), large = values >= ASLEEP_VALUES;
    if (threads == 1 || fastln_load(&serial)) return 1;
    if (fastln_load(&careless)) return threads;
    intptr_t now = nanoseconds(), since = now - fastln_load(&last_end);
    int many = is_one_of_many(values, now);
    if (fastln_load(&serial_calls) > 0) {
        fastln_fetch_add(&serial_calls, -1);
        return 1;
    }
    if (large || since < AWAKE) return threads;
    if (!many) return 1;
    intptr_t spinning = since < ASLEEP ? threads - 1 : 0; /* which look as if they ran */
    if (free_processors() + spinning >= threads) return threads;
    fastln_store(&serial_calls, BUSY_CALLS);
    return 1;
}

/* A region of the one team. Each thread has indices of its own, the same in every call of the same size, so that its
 * cache may still have what they stand for; when they are done it takes over those of others, late or slow. */
static void run_region(ptrdiff_t count, int threads, fastln_work work, void *context) {
    static fastln_atomic taken[MAX_THREADS];
    /* The fastest turn tells how long one thread would take, but for the last, which may be a short one. */
    fastln_atomic fastest = INTPTR_MAX;
    intptr_t begin = nanoseconds(), done = begin;
    for (int t = 0; t < threads; t++) fastln_store(&taken[t], t * count / threads);
#pragma omp parallel num_threads(threads)
    {
        int thread = omp_get_thread_num();
        intptr_t before = nanoseconds();
        for (int k = 0; k < threads; k++) {
            int owner = (thread + k) % threads;
            for (ptrdiff_t i, end = (owner + 1) * count / threads; (i = fastln_fetch_add(&taken[owner], 1)) < end;) {
                work(context, i, thread);
                intptr_t now = nanoseconds();
                if (i < count - 1 && now - before < fastln_load(&fastest)) fastln_store(&fastest, now - before);
                before = now;
            }
        }
        if (thread == 0) done = before;
    }
    settle(begin, done, fastln_load(&fastest) * count);
}

void fastln_parallel_careless(int on) { fastln_store(&careless, on); }

void fastln_parallel_for(ptrdiff_t count, int threads, fastln_work work, void *context) {
    /* A region costs microseconds even with one thread, so the serial case goes around it, not through if(). */
    if (count > 1 && threads > 1 && !fastln_load(&serial) && !omp_in_parallel() && !fastln_exchange(&busy, 1)) {
        run_region(count, min_int(min_int(count, threads), MAX_THREADS), work, context);
        fastln_store(&busy, 0);
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++) work(context, i, 0);
}

#else /* without OpenMP */

static int find_default(void) { return 1; }
int fastln_worthwhile_threads(ptrdiff_t values) {
    (void)values;
    return 1;
}
void fastln_parallel_careless(int on) { (void)on; }
const char *fastln_parallel_init(void) { return read_environment(); }
const char *fastln_parallel_runtime(void) { return "none (built without OpenMP)"; }
void fastln_parallel_for(ptrdiff_t count, int threads, fastln_work work, void *context) {
    (void)threads;
    for (ptrdiff_t i = 0; i < count; i++) work(context, i, 0);
}

#endif

int fastln_get_num_threads(void) {
    int n = (int)fastln_load(&requested_threads);
    return n ? n : find_default();
}

int fastln_set_num_threads(int n) {
    return (int)fastln_exchange(&requested_threads, n < 0 ? 0 : min_int(n, MAX_THREADS));
}
