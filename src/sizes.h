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

/* Of n values or vectors in a row number i of a sample of `size`, an even number, at the same distances from both ends,
 * so that a trend does not show in it. Of less than `size` some count more than once. */
static inline ptrdiff_t fastln_sampled(ptrdiff_t n, int i, int size) {
    return 2 * i < size ? (2 * i + 1) * n / (2 * size) : n - 1 - (2 * (size - i) - 1) * n / (2 * size);
}

/* So many bytes further on; NULL stays NULL. */
static inline const char *fastln_from(const char *at, ptrdiff_t offset) { return at ? at + offset : NULL; }
static inline char *fastln_to(char *at, ptrdiff_t offset) { return at ? at + offset : NULL; }

/* These rows, so many steps further on. */
static inline fastln_rows fastln_rows_at(fastln_rows rows, ptrdiff_t steps, fastln_steps step) {
    rows.x += steps * step.x;
    rows.y += steps * step.y;
    rows.weight = fastln_from(rows.weight, steps * step.weight);
    rows.bias = fastln_from(rows.bias, steps * step.bias);
    rows.mean = fastln_to(rows.mean, steps * step.stat);
    rows.rstd = fastln_to(rows.rstd, steps * step.stat);
    return rows;
}
/* Whether an axis whose steps are `outer` goes on where one of n steps ends. */
static inline int fastln_nests(fastln_steps outer, fastln_steps inner, ptrdiff_t n) {
    return outer.x == n * inner.x && outer.y == n * inner.y && outer.weight == n * inner.weight &&
           outer.bias == n * inner.bias && outer.stat == n * inner.stat;
}

/* The first rows of a task. Without y, y is x, of which only the place is looked at. */
static inline fastln_rows fastln_first_rows(const fastln_task *task) {
    return (fastln_rows){.x = task->x,
                         .y = task->y ? task->y : (char *)(uintptr_t)task->x,
                         .weight = task->weight,
                         .bias = task->bias,
                         .mean = task->mean,
                         .rstd = task->rstd,
                         .stride = task->strides[task->ndim - 1],
                         .count = task->shape[task->ndim - 1]};
}

/* The next cache line that begins there or later. */
static inline char *fastln_line_after(void *memory) { return (char *)memory + (-(uintptr_t)memory % FASTLN_LINE); }

#endif
