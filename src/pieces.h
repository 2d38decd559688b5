/* pieces.h: long rows, one after the other, each in pieces that threads may share. */
#ifndef FASTLN_PIECES_H
#define FASTLN_PIECES_H

#include "fastln.h"

#define FASTLN_LONGEST_WHOLE (2 * FASTLN_PIECE) /* vectors; longer rows do not fit FASTLN_SCRATCH */

/* All `rows` rows of a task in the layout of rows or scattered. Returns -1, and does nothing, if there is no memory. */
int fastln_run_pieces(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads);

#endif
