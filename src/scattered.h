/* scattered.h: rows that a kernel cannot read, or cannot write, where they are. */
#ifndef FASTLN_SCATTERED_H
#define FASTLN_SCATTERED_H

#include "fastln.h"
#include "walk.h"

/* Values [first, first + count) of each row, from x or to y; in `dense` they lie side by side, and the rows at a
 * distance of `row` bytes. */
void fastln_gather(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense,
                   ptrdiff_t row);
void fastln_scatter(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense,
                    ptrdiff_t row);
ptrdiff_t fastln_window_stride(const fastln_task *task,
                               ptrdiff_t count); /* a good distance for rows of `count` values */

/* How many of the rows, side by side in a run, lie so near each other that they should go together. */
#define FASTLN_TOGETHER 16 /* at most */
ptrdiff_t fastln_neighbours(const fastln_task *task);

/* Whether a kernel can read, or write, the rows where they are. */
int fastln_dense_x(const fastln_task *task);
int fastln_dense_y(const fastln_task *task);

/* All `rows` rows. Returns -1, and does nothing, if there is no memory. */
int fastln_run_scattered(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads);

#endif
