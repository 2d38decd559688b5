/* scattered.h: rows that no kernel can read, copied to where one can. */
#ifndef FASTLN_SCATTERED_H
#define FASTLN_SCATTERED_H

#include "fastln.h"
#include "walk.h"

/* Values [first, first + count) of each row, from x or to y; in `dense` they lie side by side, the rows at the distance
 * that fastln_dense_stride gives for `count` values. */
ptrdiff_t fastln_dense_stride(const fastln_task *task, ptrdiff_t count);
void fastln_gather(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense);
void fastln_scatter(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense);

/* All `rows` rows. Returns -1, and does nothing, if there is no memory. */
int fastln_run_scattered(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads);

#endif
