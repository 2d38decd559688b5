/* cells.h: the cells of recurrent networks, step by step.
 *
 *   _cells.pyx  ->  fastln_run_step(step)    cells.c        finds the cell
 *               ->  cells[...](step)         cells.inc.h    the arithmetic, compiled once per instruction set
 *
 * A step is what follows the product of a row's state h with weight_hh. As for a task, the callers check. */
#ifndef FASTLN_CELLS_H
#define FASTLN_CELLS_H

#include "fastln.h"

#define FASTLN_NAME_CELL(name) FASTLN_##name,
typedef enum { FASTLN_FOR_EACH_CELL(FASTLN_NAME_CELL) FASTLN_CELLS } fastln_cell;

/* What each cell reads, with its gates side by side in a row of sums and of input:
 *
 *   rnn   gates 1       weight, bias: of the norm                      input: W_ih x
 *   lstm  gates f i o g weight: of the norm of the sums                input: LN(W_ih x) and all biases of the gates
 *                       inner_weight, inner_bias: of the norm of c
 *   gru   gates z r n   weight: of the norm of the sums of z and r     input: LN(W_ih x), z and r with all their biases
 *                       inner_weight, inner_bias: of that of n */
struct fastln_step {
    fastln_cell cell;
    fastln_dtype dtype;             /* f32 or f64, of all arrays; all are contiguous, y by row */
    ptrdiff_t batch, hidden, width; /* width: of a row of sums and input, the gates times hidden */
    double eps;
    const void *weight, *bias, *inner_weight, *inner_bias; /* or NULL */
    void *sums;                                            /* weight_hh h, overwritten */
    const void *columns; /* or NULL; the same transposed, (width, batch), from which sums are to be copied first */
    const void *input;
    void *h, *c; /* the state: `hidden` values a row; c for lstm alone */
    void *y;     /* also gets h */
    ptrdiff_t y_stride;
    const ptrdiff_t *lengths; /* or NULL; a row whose length is up to `time` keeps its state, and y is 0 */
    ptrdiff_t time;
};

int fastln_step_is_long(const fastln_step *step); /* worth releasing the GIL for */
void fastln_run_step(const fastln_step *step);

#endif
