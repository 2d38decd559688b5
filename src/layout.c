/* layout.c: finds the layout of any pair of arrays, and the order in which to go through them. The layouts differ in speed
 * alone. */
#include "scattered.h"
#include "sizes.h"
#include "strided.h"

enum {
    /* From where on the columns' own kernel is faster than a copy; measured. */
    NARROW = 5,  /* values side by side, if there are also */
    SMALL = 256, /* values in all rows that lie side by side, or */
    WIDE = 16,   /* values side by side */
};

typedef struct array { /* x and y, which have one shape */
    int ndim;
    const ptrdiff_t *shape, *x_strides, *y_strides;
    uint64_t normalized; /* the set of these axes, one bit each */
    ptrdiff_t item_size;
} array;

static int is_normalized(const array *a, int axis) { return a->normalized >> axis & 1; }

/* These axes, without any of size 1 and with neighbours that nest in both arrays as one; at least one axis. */
static int merge(const array *a, const int *axes, int n, ptrdiff_t *shape, ptrdiff_t *x_strides, ptrdiff_t *y_strides) {
    fastln_axis merged[FASTLN_MAX_AXES];
    int count = 0;
    for (int i = 0; i < n; i++)
        if (a->shape[axes[i]] != 1) /* or its stride means nothing */
            merged[count++] = (fastln_axis){a->shape[axes[i]], a->y_strides[axes[i]], a->x_strides[axes[i]]};
    if (count == 0) merged[count++] = (fastln_axis){1, 0, 0};
    count = fastln_merge_axes(merged, count);
    for (int i = 0; i < count; i++) shape[i] = merged[i].n, x_strides[i] = merged[i].from, y_strides[i] = merged[i].to;
    return count;
}

/* All axes, the one with the longest stride first; what is repeated rather than stored also first, so that it does not come
 * between values that lie side by side, but last if it is normalized. */
static void sort(const array *a, const ptrdiff_t *strides, int *order) {
    ptrdiff_t keys[FASTLN_MAX_AXES];
    for (int axis = 0; axis < a->ndim; axis++) {
        int i = axis;
        keys[axis] = strides[axis] == 0 && !is_normalized(a, axis) ? PTRDIFF_MAX : fastln_magnitude(strides[axis]);
        for (; i > 0 && keys[order[i - 1]] < keys[axis]; i--) order[i] = order[i - 1];
        order[i] = axis;
    }
}

/* How well the innermost axes of that order, but for those of a row, keep rows together: so many along the innermost, and if
 * they are less than a window takes side by side, so many along the next one. */
static ptrdiff_t rows_together(const array *a, const int *order) {
    ptrdiff_t first = 0;
    for (int i = a->ndim - 1; i >= 0; i--) {
        ptrdiff_t n = fastln_least(a->shape[order[i]], FASTLN_TOGETHER);
        if (is_normalized(a, order[i]) || n == 1) continue;
        if (first) return first + n;
        first = n * 2 * FASTLN_TOGETHER;
        if (n == FASTLN_TOGETHER) break;
    }
    return first;
}

/* Whether the values of a row are in cache lines of their own. */
static int are_apart(const fastln_task *task, const ptrdiff_t *row_strides) {
    int apart = 1;
    for (int i = 0; i < task->row_ndim; i++) apart &= fastln_magnitude(row_strides[i]) >= FASTLN_LINE;
    return apart;
}

/* Rows go in the order of memory of the side where their values are apart, as others are in the same lines. If that tells
 * nothing, in the order that takes more of them together. */
static void choose_order(const array *a, const fastln_task *task, int *order) {
    int by_y[FASTLN_MAX_AXES];
    int x_apart = are_apart(task, task->row_x_strides), y_apart = are_apart(task, task->row_y_strides);
    sort(a, a->x_strides, order);
    sort(a, a->y_strides, by_y);
    if (y_apart > x_apart || (y_apart == x_apart && rows_together(a, by_y) > rows_together(a, order)))
        for (int i = 0; i < a->ndim; i++) order[i] = by_y[i];
}

/* Where in `axes` is one whose values lie side by side in both arrays, enough of them for the layout of columns; or -1. */
static int find_columns(const array *a, const int *axes, int n, ptrdiff_t length) {
    for (int i = 0; i < n; i++) {
        ptrdiff_t width = a->shape[axes[i]];
        int dense = a->x_strides[axes[i]] == a->item_size && a->y_strides[axes[i]] == a->item_size;
        if (dense && width >= NARROW && (width >= WIDE || width * length >= SMALL)) return i;
    }
    return -1;
}

void fastln_describe(fastln_task *task, int ndim, const ptrdiff_t *shape, const ptrdiff_t *x_strides,
                     const ptrdiff_t *y_strides, uint64_t normalized, ptrdiff_t item_size, int aligned, int *order) {
    const array a = {ndim, shape, x_strides, y_strides, normalized, item_size};
    int row_axes[FASTLN_MAX_AXES] = {0}, others[FASTLN_MAX_AXES] = {0}, m = 0, n = 0;
    for (int axis = 0; axis < ndim; axis++)
        if (is_normalized(&a, axis)) row_axes[m++] = axis;
    task->row_ndim = merge(&a, row_axes, m, task->row_shape, task->row_x_strides, task->row_y_strides);
    task->length = 1;
    for (int i = 0; i < task->row_ndim; i++) task->length *= task->row_shape[i];
    task->x_step = task->row_x_strides[0];
    task->y_step = task->row_y_strides[0];
    choose_order(&a, task, order);
    for (int i = 0; i < ndim; i++)
        if (!is_normalized(&a, order[i])) others[n++] = order[i];

    task->layout = FASTLN_SCATTERED;
    if (aligned && task->row_ndim == 1) {
        int columns = find_columns(&a, others, n, task->length);
        if (task->length == 1 || (task->x_step == item_size && task->y_step == item_size)) {
            task->layout = FASTLN_ROWS;
        } else if (columns >= 0) {
            task->layout = FASTLN_COLUMNS;
            int innermost = others[columns];
            for (int i = columns; i < n - 1; i++) others[i] = others[i + 1];
            others[n - 1] = innermost;
        }
    }
    task->ndim = merge(&a, others, n, task->shape, task->x_strides, task->y_strides);

    /* The rows in the order found, each where it was; or innermost, whatever else the strides say. */
    for (int i = 0, other = 0; i < ndim; i++) {
        if (task->layout == FASTLN_ROWS)
            order[i] = i < n ? others[i] : row_axes[i - n];
        else if (!is_normalized(&a, order[i]))
            order[i] = others[other++];
    }
}
