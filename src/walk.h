/* walk.h: where the rows of a task are, run by run. */
#ifndef FASTLN_WALK_H
#define FASTLN_WALK_H

#include "sizes.h"

typedef struct fastln_walk {
    const fastln_task *task;
    fastln_steps at; /* from the first row; past the last one there is nothing to point at */
    ptrdiff_t left;  /* rows of the run */
    ptrdiff_t index[FASTLN_MAX_AXES];
} fastln_walk;

void fastln_walk_from(fastln_walk *walk, const fastln_task *task, ptrdiff_t row);
fastln_rows fastln_walk_on(fastln_walk *walk, ptrdiff_t most); /* the next rows, all of one run, and past them */

/* The same for whole runs, if one is no more than `most`. */
fastln_runs fastln_walk_runs(fastln_walk *walk, ptrdiff_t most);

#endif
