/* sizes.h: small arithmetic on sizes, strides and addresses. */
#ifndef FASTLN_SIZES_H
#define FASTLN_SIZES_H

#include <stdint.h>

#include "fastln.h"

enum {
    FASTLN_LINE = 64,   /* bytes in a cache line */
    FASTLN_VECTOR = 64, /* bytes in a vector of the compute type, whatever the registers */
};

static inline ptrdiff_t fastln_least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t fastln_divide_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static inline ptrdiff_t fastln_magnitude(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

static inline ptrdiff_t fastln_item_size(const fastln_task *task) { /* of x and y */
    return task->dtype == FASTLN_f64 ? 8 : task->dtype == FASTLN_f32 ? 4 : 2;
}
static inline ptrdiff_t fastln_compute_size(const fastln_task *task) { /* of everything else */
    return task->dtype == FASTLN_f64 ? 8 : 4;
}
static inline ptrdiff_t fastln_count_rows(const fastln_task *task) {
    ptrdiff_t rows = 1;
    for (int axis = 0; axis < task->ndim; axis++) rows *= task->shape[axis];
    return rows;
}

/* The next cache line that begins there or later. */
static inline char *fastln_line_after(void *memory) { return (char *)memory + (-(uintptr_t)memory % FASTLN_LINE); }

#endif
