/* cells.c: a step of a recurrent network. In the calling thread alone: it takes a fraction of the product before it,
 * whose library has threads of its own, and ours would still spin on their processors when the next product comes. */
#include "cells.h"

#include "strided.h"

enum { LONG_VALUES = 1 << 15 }; /* of h: some 50 microseconds */

void fastln_run_step(const fastln_step *step) {
    ptrdiff_t item = step->dtype == FASTLN_f64 ? 8 : 4;
    fastln_axis axes[] = {{step->batch, step->width * item, item}, {step->width, item, step->batch * item}};
    if (step->columns) fastln_copy(step->sums, step->columns, axes, 2, item);
    fastln_active_cells(step->dtype)[step->cell](step);
}

int fastln_step_is_long(const fastln_step *step) { return step->batch * step->hidden >= LONG_VALUES; }
