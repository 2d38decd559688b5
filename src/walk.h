/* walk.h: where the rows of a task are, run by run. */
#ifndef FASTLN_WALK_H
#define FASTLN_WALK_H

#include "fastln.h"

typedef struct fastln_walk {
    const fastln_task *task;
    fastln_rows next; /* the rest of the run */
    ptrdiff_t index[FASTLN_MAX_AXES];
} fastln_walk;

ptrdiff_t fastln_item_size(const fastln_task *task);    /* of x and y */
ptrdiff_t fastln_compute_size(const fastln_task *task); /* of everything else */

void fastln_walk_from(fastln_walk *walk, const fastln_task *task, ptrdiff_t row);
fastln_rows fastln_walk_on(fastln_walk *walk, ptrdiff_t most); /* the next rows, all of one run, and past them */
/* The same, or else several whole runs, as far apart as the last but one of the other axes says; returns the first. */
fastln_rows fastln_walk_runs(fastln_walk *walk, ptrdiff_t most, ptrdiff_t *runs);

#endif
