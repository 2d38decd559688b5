/* walk.h: where the rows of a task are, run by run. */
#ifndef FASTLN_WALK_H
#define FASTLN_WALK_H

#include "fastln.h"

typedef struct fastln_walk {
    const fastln_task *task;
    fastln_rows next; /* the rest of the run */
    ptrdiff_t index[FASTLN_MAX_AXES];
} fastln_walk;

static inline ptrdiff_t fastln_magnitude(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }
static inline ptrdiff_t fastln_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
ptrdiff_t fastln_item_size(const fastln_task *task);    /* of x and y */
ptrdiff_t fastln_compute_size(const fastln_task *task); /* of everything else */
char *fastln_line_after(void *memory);                  /* the next cache line that begins there or later */

void fastln_walk_from(fastln_walk *walk, const fastln_task *task, ptrdiff_t row);
fastln_rows fastln_walk_on(fastln_walk *walk, ptrdiff_t most); /* the next rows, all of one run, and past them */

typedef struct fastln_runs { /* several runs at equal distances */
    fastln_rows first;
    ptrdiff_t count, x_distance, y_distance;
} fastln_runs;
fastln_runs fastln_walk_runs(fastln_walk *walk,
                             ptrdiff_t most); /* the same for whole runs, if one is no more than `most` */

#endif
