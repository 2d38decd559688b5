/* cells.c: a step of a recurrent network, the rows of its batch among threads. */
#include "cells.h"

#include "sizes.h"
#include "strided.h"

enum {
    COST = 8,             /* what a value of a gate takes, in values of a layer norm */
    LONG_VALUES = 1 << 15 /* of h: some 50 microseconds */
};

typedef struct job {
    const fastln_step *step;
    fastln_rows_of_step rows;
    ptrdiff_t chunk;
} job;

static void do_rows(const job *j, ptrdiff_t first, ptrdiff_t count) {
    const fastln_step *step = j->step;
    ptrdiff_t item = step->dtype == FASTLN_f64 ? 8 : 4, row = step->width * item;
    if (step->columns) {
        fastln_axis axes[] = {{count, row, item}, {step->width, item, step->batch * item}};
        fastln_copy((char *)step->sums + first * row, (const char *)step->columns + first * item, axes, 2, item);
    }
    j->rows(step, first, count);
}

static void do_chunk(void *context, ptrdiff_t i, int thread) {
    const job *j = context;
    ptrdiff_t begin = i * j->chunk;
    (void)thread;
    do_rows(j, begin, fastln_least(j->step->batch - begin, j->chunk));
}

void fastln_run_step(const fastln_step *step) {
    job j = {.step = step, .rows = fastln_active_cells(step->dtype)[step->cell]};
    int threads = step->batch == 1 ? 1 : fastln_worthwhile_threads(COST * step->batch * step->hidden);
    if (threads == 1) {
        do_rows(&j, 0, step->batch);
        return;
    }
    j.chunk = fastln_divide_up(step->batch, 4 * threads);
    fastln_parallel_for(fastln_divide_up(step->batch, j.chunk), threads, do_chunk, &j);
}

int fastln_step_is_long(const fastln_step *step) { return step->batch * step->hidden >= LONG_VALUES; }
