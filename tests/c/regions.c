/* Calls fastln_parallel_for from several threads at once, at random sizes. Exits with an error unless every index is
 * done exactly once, at most one call at a time has a team, and a call from inside another one has none. */
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "fastln.h"

enum { CALLERS = 4, CALLS = 500, MOST = 64 };

static atomic_int with_team[CALLERS]; /* how many indices of a call that has a team are being worked on */
static atomic_int teams;              /* how many indices have been done in a team, in all */

typedef struct call {
    int caller;
    atomic_int done[MOST];
} call;

static void check(int condition, const char *message) {
    if (!condition) {
        fprintf(stderr, "%s\n", message);
        exit(1);
    }
}

static void inner(void *context, ptrdiff_t i, int thread) {
    (void)i, (void)thread;
    check(omp_get_level() == *(int *)context, "a region inside a region");
}

static void work(void *context, ptrdiff_t i, int thread) {
    (void)thread;
    call *c = context;
    int level = omp_get_level();
    if (omp_in_parallel()) {
        teams++;
        with_team[c->caller]++;
        for (int other = 0; other < CALLERS; other++)
            check(other == c->caller || with_team[other] == 0, "two regions at once");
        fastln_parallel_for(3, 2, inner, &level);
        with_team[c->caller]--;
    }
    c->done[i]++;
}

static void *run_calls(void *caller) {
    unsigned state = 1 + *(unsigned *)caller;
    for (int k = 0; k < CALLS; k++) {
        call c = {.caller = *(int *)caller};
        state = state * 1664525 + 1013904223;
        int count = (int)(state >> 8) % MOST, threads = (int)(state >> 20) % 5;
        fastln_parallel_for(count, threads, work, &c);
        for (int i = 0; i < MOST; i++) check(c.done[i] == (i < count), "an index was not done exactly once");
    }
    return NULL;
}

int main(void) {
    pthread_t threads[CALLERS];
    int callers[CALLERS];
    const char *error = fastln_parallel_init();
    check(error == NULL, error ? error : "");
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = i;
        pthread_create(&threads[i], NULL, run_calls, &callers[i]);
    }
    for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
    check(teams > 0, "no call had a team");
    return 0;
}
