/* layout.c: finds the layout of any pair of arrays, and the order in which to go through them. The layouts differ in
 * speed alone. */
#include "scattered.h"
#include "sizes.h"
#include "strided.h"

enum {
    /* From where on the columns' own kernel is faster than a copy; measured. */
    NARROW = 8,  /* values side by side, if there are also */
    SMALL = 256, /* values in all rows that lie side by side, or */
    WIDE = 16,   /* values side by side */

    PIECE = 1024, /* bytes of rows; in smaller pieces memory is read in order, whatever the parameters */
};

static int is_normalized(const fastln_arrays *a, int axis) { return a->normalized >> axis & 1; }

/* These axes of a row, without any of size 1 and with neighbours that nest in both arrays as one; at least one axis. */
static void merge_row(fastln_task *task, const fastln_arrays *a, const int *axes, int n) {
    fastln_axis merged[FASTLN_MAX_AXES];
    int count = 0;
    for (int i = 0; i < n; i++)
        if (a->shape[axes[i]] != 1) /* or its stride means nothing */
            merged[count++] = (fastln_axis){a->shape[axes[i]], a->y_strides[axes[i]], a->x_strides[axes[i]]};
    if (count == 0) merged[count++] = (fastln_axis){1, 0, 0};
    task->row_ndim = fastln_merge_axes(merged, count);
    task->length = 1;
    for (int i = 0; i < task->row_ndim; i++) {
        task->length *= task->row_shape[i] = merged[i].n;
        task->row_x_strides[i] = merged[i].from;
        task->row_y_strides[i] = merged[i].to;
    }
}

static ptrdiff_t stride_of(const ptrdiff_t *strides, int axis) { return strides ? strides[axis] : 0; }

/* The same for the other axes, which also say where parameters and statistics are. */
static void merge_others(fastln_task *task, const fastln_arrays *a, const int *axes, int n) {
    task->ndim = 0;
    for (int i = 0; i < n; i++) {
        int axis = axes[i], last = task->ndim - 1;
        fastln_steps step = {a->x_strides[axis], a->y_strides[axis], stride_of(a->weight_strides, axis),
                             stride_of(a->bias_strides, axis), stride_of(a->stat_strides, axis)};
        if (a->shape[axis] == 1) continue;
        int at = last >= 0 && fastln_nests(task->strides[last], step, a->shape[axis]) ? last : task->ndim++;
        task->shape[at] = at == last ? task->shape[at] * a->shape[axis] : a->shape[axis];
        task->strides[at] = step;
    }
    if (task->ndim > 0) return;
    task->ndim = 1, task->shape[0] = 1; /* one row */
    task->strides[0] = (fastln_steps){0, 0, 0, 0, 0};
}

/* All axes, the one with the longest stride first; what is repeated rather than stored also first, so that it does not
 * come between values that lie side by side, but last if it is normalized. */
static void sort(const fastln_arrays *a, const ptrdiff_t *strides, int *order) {
    ptrdiff_t keys[FASTLN_MAX_AXES];
    for (int axis = 0; axis < a->ndim; axis++) {
        int i = axis;
        keys[axis] = strides[axis] == 0 && !is_normalized(a, axis) ? PTRDIFF_MAX : fastln_magnitude(strides[axis]);
        for (; i > 0 && keys[order[i - 1]] < keys[axis]; i--) order[i] = order[i - 1];
        order[i] = axis;
    }
}

/* How well the innermost axes of that order, but for those of a row, keep rows together: so many along the innermost,
 * and if they are less than a window takes side by side, so many along the next one. */
static ptrdiff_t rows_together(const fastln_arrays *a, const int *order) {
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

/* Rows go in the order of memory of the side where their values are apart, as others are in the same lines. If that
 * tells nothing, in the order that takes more of them together. */
static void choose_order(const fastln_arrays *a, const fastln_task *task, int *order) {
    int by_y[FASTLN_MAX_AXES];
    int x_apart = are_apart(task, task->row_x_strides), y_apart = are_apart(task, task->row_y_strides);
    sort(a, a->x_strides, order);
    sort(a, a->y_strides, by_y);
    if (y_apart > x_apart || (y_apart == x_apart && rows_together(a, by_y) > rows_together(a, order)))
        for (int i = 0; i < a->ndim; i++) order[i] = by_y[i];
}

/* Whether a kernel for columns finds parameters there: one of each per value, for all rows along that axis, or one per
 * row. */
static int has_column_parameters(const fastln_task *task, const fastln_arrays *a, int axis) {
    if (task->part) return 0;
    return task->form != FASTLN_EACH || (!stride_of(a->weight_strides, axis) && !stride_of(a->bias_strides, axis));
}

/* Where in `axes` is one whose values lie side by side in both arrays, enough of them for the layout of columns; or -1.
 */
static int find_columns(const fastln_task *task, const fastln_arrays *a, const int *axes, int n) {
    for (int i = 0; i < n; i++) {
        ptrdiff_t width = a->shape[axes[i]];
        int dense = a->x_strides[axes[i]] == a->item_size && a->y_strides[axes[i]] == a->item_size;
        if (dense && width >= NARROW && (width >= WIDE || width * task->length >= SMALL) &&
            has_column_parameters(task, a, axes[i]))
            return i;
    }
    return -1;
}

void fastln_describe(fastln_task *task, const fastln_arrays *a, int *order) {
    int row_axes[FASTLN_MAX_AXES] = {0}, others[FASTLN_MAX_AXES] = {0}, m = 0, n = 0;
    for (int axis = 0; axis < a->ndim; axis++)
        if (is_normalized(a, axis)) row_axes[m++] = axis;
    merge_row(task, a, row_axes, m);
    task->x_step = task->row_x_strides[0];
    task->y_step = task->row_y_strides[0];
    choose_order(a, task, order);
    for (int i = 0; i < a->ndim; i++)
        if (!is_normalized(a, order[i])) others[n++] = order[i];

    task->layout = FASTLN_SCATTERED;
    if (a->aligned && task->row_ndim == 1) {
        int columns = find_columns(task, a, others, n);
        if (task->length == 1 || (task->x_step == a->item_size && task->y_step == a->item_size)) {
            task->layout = FASTLN_ROWS;
        } else if (columns >= 0) {
            task->layout = FASTLN_COLUMNS;
            int innermost = others[columns];
            for (int i = columns; i < n - 1; i++) others[i] = others[i + 1];
            others[n - 1] = innermost;
        }
    }
    merge_others(task, a, others, n);

    /* The rows in the order found, each where it was; or innermost, whatever else the strides say. */
    for (int i = 0, other = 0; i < a->ndim; i++) {
        if (task->layout == FASTLN_ROWS)
            order[i] = i < n ? others[i] : row_axes[i - n];
        else if (!is_normalized(a, order[i]))
            order[i] = others[other++];
    }
}

static int has_own_parameters(fastln_steps step) { return step.weight || step.bias; }

void fastln_order_rows(fastln_task *task) {
    int last = task->ndim - 1, sorted = 0;
    ptrdiff_t piece = task->shape[last] * task->length * fastln_item_size(task);
    if (task->layout != FASTLN_ROWS || has_own_parameters(task->strides[last]) || piece < PIECE) return;
    for (int axis = 0; axis < last; axis++) {
        ptrdiff_t n = task->shape[axis];
        fastln_steps step = task->strides[axis];
        if (!has_own_parameters(step)) continue;
        for (int i = axis; i > sorted; i--)
            task->shape[i] = task->shape[i - 1], task->strides[i] = task->strides[i - 1];
        task->shape[sorted] = n, task->strides[sorted++] = step;
    }
}

void fastln_describe_rows(fastln_task *task, ptrdiff_t rows, ptrdiff_t length) {
    task->layout = FASTLN_ROWS;
    task->form = FASTLN_EACH;
    task->part = 0;
    task->length = length;
    task->ndim = 1;
    task->shape[0] = rows;
    ptrdiff_t row = length * fastln_item_size(task);
    task->strides[0] = (fastln_steps){row, row, 0, 0, task->wide ? 8 : fastln_compute_size(task)};
}
