/* scattered.h: rows that no kernel can read, copied to where one can. */
#ifndef FASTLN_SCATTERED_H
#define FASTLN_SCATTERED_H

#include "fastln.h"
#include "walk.h"

/* Room for copies, on the stack: as much as a thread with a small stack can spare. */
#define FASTLN_SCRATCH (1 << 16)

/* Values [first, first + count) of each row of `runs` runs, from x or to y; in `dense` they lie side by side, row after
 * row. */
void fastln_gather(const fastln_task *task, const fastln_rows *rows, ptrdiff_t runs, ptrdiff_t first, ptrdiff_t count,
                   char *dense);
void fastln_scatter(const fastln_task *task, const fastln_rows *rows, ptrdiff_t runs, ptrdiff_t first, ptrdiff_t count,
                    char *dense);

/* The next `count` rows, none of them larger than FASTLN_SCRATCH bytes. */
void fastln_run_scattered(const fastln_task *task, const fastln_kernel *kernel, fastln_walk *walk, ptrdiff_t count);

#endif
