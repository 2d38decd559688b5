/* cells.c: a step of a recurrent network, the rows of its batch among threads. */
#include "cells.h"

#include "sizes.h"

enum {
    COST = 8,             /* what a value of a gate takes, in values of a layer norm */
    LONG_VALUES = 1 << 15 /* of h: some 50 microseconds */
};

typedef struct job {
    const fastln_step *step;
    fastln_rows_of_step rows;
    ptrdiff_t chunk;
} job;

static void do_chunk(void *context, ptrdiff_t i, int thread) {
    const job *j = context;
    ptrdiff_t begin = i * j->chunk;
    (void)thread;
    j->rows(j->step, begin, fastln_least(j->step->batch - begin, j->chunk));
}

void fastln_run_step(const fastln_step *step) {
    fastln_rows_of_step rows = fastln_active_cells(step->dtype)[step->cell];
    int threads = step->batch == 1 ? 1 : fastln_worthwhile_threads(COST * step->batch * step->hidden);
    if (threads == 1) {
        rows(step, 0, step->batch);
        return;
    }
    job j = {step, rows, fastln_divide_up(step->batch, 4 * threads)};
    fastln_parallel_for(fastln_divide_up(step->batch, j.chunk), threads, do_chunk, &j);
}

int fastln_step_is_long(const fastln_step *step) { return step->batch * step->hidden >= LONG_VALUES; }
