/* pieces.h: long rows, a few at a time, each in pieces that threads may share. */
#ifndef FASTLN_PIECES_H
#define FASTLN_PIECES_H

#include "fastln.h"

/* In bytes. What is worked on at once stays in L2; more only for rows that do not fit otherwise, and most if not even y
 * is dense: in pieces, such a row takes three walks over memory instead of two. */
#define FASTLN_WINDOW (1 << 18)
#define FASTLN_LARGE_WINDOW (1 << 20)
#define FASTLN_LARGEST_WINDOW (1 << 22)

#define FASTLN_SHARED_ROW 8192 /* vectors; rows that are at least as long, and few, are shared by the threads */

/* Whether they are better for scattered rows than a window of whole ones. */
int fastln_prefers_pieces(const fastln_task *task, ptrdiff_t rows, int threads);

/* All `rows` rows of a task, none shorter than a large sample (moments.inc.h), in the layout of rows or scattered.
 * Returns -1, and does nothing, if there is no memory. */
int fastln_run_pieces(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads);

#endif
