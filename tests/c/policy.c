/* When parallel.c uses more than one thread; with a made-up /proc below the current directory, in which so many threads
 * run as the argument says. Exits with an error unless all holds. */
#define _POSIX_C_SOURCE 200809L
#define FASTLN_ROOT "."
#include "parallel.c"

#include <time.h>

enum { SMALL = AWAKE_VALUES - 1, MEDIUM = AWAKE_VALUES, LARGE = ASLEEP_VALUES };

static void check(int condition, const char *message) {
    if (!condition) {
        fprintf(stderr, "%s\n", message);
        exit(1);
    }
}

static void wait_milliseconds(long n) {
    struct timespec time = {n / 1000, n % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int large_calls_until_threads(void) {
    int n = 0;
    while (fastln_worthwhile_threads(LARGE) == 1) n++;
    return n;
}

/* After a region that took so many milliseconds where one thread would take 10. */
static void after_region(int milliseconds) {
    intptr_t begin = nanoseconds() - milliseconds * 1000000;
    settle(begin, begin, 10000000);
}

static void check_losses(int processor_is_free) {
    after_region(5), after_region(12), after_region(9);
    check(large_calls_until_threads() == 0, "regions that gain are given up");
    for (int i = 0; i < 100; i++) after_region(5);
    after_region(30);
    check(large_calls_until_threads() >= SERIAL_CALLS, "regions that lose are not given up");
    check(large_calls_until_threads() == 0, "regions are given up for good");
    after_region(12);
    check(large_calls_until_threads() >= SERIAL_CALLS, "what was gained before is not used up");
    settle(nanoseconds() - 500000000, nanoseconds(), 10000000);
    if (processor_is_free)
        check(large_calls_until_threads() == 0, "a caller that was held up blames the team");
    else
        check(large_calls_until_threads() > 0, "a team that crowds busy processors is not blamed");
    after_region(500);
    fastln_parallel_careless(1);
    check(fastln_worthwhile_threads(LARGE) == 2, "tests cannot have threads");
    check(fastln_worthwhile_threads(MEDIUM) == 2, "tests cannot have threads for less");
    fastln_parallel_careless(0);
    check(large_calls_until_threads() >= 480 / 10 * WAITING, "the calls after a great loss do not make up for it");
}

static void check_sizes(int processor_is_free) {
    fastln_set_num_threads(1);
    check(fastln_worthwhile_threads(LARGE) == 1, "more threads than are set");
    fastln_set_num_threads(2);
    check(fastln_worthwhile_threads(SMALL) == 1, "threads for small work");
    check(fastln_worthwhile_threads(LARGE) == 2, "no threads for large work");
    check(fastln_worthwhile_threads(MEDIUM) == 1, "a team is woken up for one call");
    wait_milliseconds(10);
    int woken = 0;
    for (int i = 0; i < QUICK_CALLS + 4; i++) woken |= fastln_worthwhile_threads(MEDIUM) == 2;
    check(woken == processor_is_free, woken ? "a team is woken up on busy processors" : "many calls have no team");
}

int main(int argc, char **argv) {
    check(argc == 2, "how many threads run?");
    check(fastln_parallel_init() == NULL, "the environment");
    check_sizes(sysconf(_SC_NPROCESSORS_ONLN) + 1 - atoi(argv[1]) >= 2);
    fastln_store(&serial_calls, 0);
    check_losses(sysconf(_SC_NPROCESSORS_ONLN) + 1 - atoi(argv[1]) >= 1);
    return 0;
}
