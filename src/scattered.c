/* scattered.c: rows that a kernel cannot read, or cannot write, where they are. They go through a window in cache, as
 * many at a time as it has room for. */
#include "scattered.h"

#include <stdlib.h>

#include "pieces.h"
#include "strided.h"

enum { NEARBY = 4096 }; /* bytes */

ptrdiff_t fastln_neighbours(const fastln_task *task) {
    ptrdiff_t n = 1, last = task->ndim - 1;
    ptrdiff_t x = fastln_magnitude(task->strides[last].x), y = fastln_magnitude(task->strides[last].y);
    if (task->layout != FASTLN_SCATTERED) return 1;
    while (n < FASTLN_TOGETHER && n < task->shape[last] && (n * x < NEARBY || n * y < NEARBY)) n *= 2;
    return n;
}

ptrdiff_t fastln_window_stride(const fastln_task *task, ptrdiff_t count) {
    ptrdiff_t bytes = count * fastln_item_size(task);
    return bytes % 1024 == 0 ? bytes + FASTLN_LINE
                             : bytes; /* or they would all fight for the same places in the cache */
}

/* offsets: where the rows begin, all in one. */
static int is_dense(const fastln_task *task, uintptr_t offsets, const ptrdiff_t *row_strides) {
    ptrdiff_t size = fastln_item_size(task), next = size;
    if (task->layout != FASTLN_SCATTERED) return 1;
    for (int axis = task->row_ndim - 1; axis >= 0; axis--) {
        if (row_strides[axis] != next) return 0;
        next *= task->row_shape[axis];
    }
    return offsets % (uintptr_t)size == 0;
}
int fastln_dense_x(const fastln_task *task) {
    uintptr_t offsets = (uintptr_t)task->x;
    for (int axis = 0; axis < task->ndim; axis++) offsets |= (uintptr_t)task->strides[axis].x;
    return is_dense(task, offsets, task->row_x_strides);
}
int fastln_dense_y(const fastln_task *task) {
    uintptr_t offsets = (uintptr_t)task->y;
    for (int axis = 0; axis < task->ndim; axis++) offsets |= (uintptr_t)task->strides[axis].y;
    return task->y && is_dense(task, offsets, task->row_y_strides);
}

/* Of values [first, first + count) of a row, as many as make a block: whole lines of an axis, which may be part of it.
 * Adds their axes, `to` being where they lie side by side; returns how many values, and how far from the row they
 * begin. */
static ptrdiff_t find_block(const fastln_task *task, const ptrdiff_t *strides, ptrdiff_t first, ptrdiff_t count,
                            fastln_axis *axes, int *ndim, ptrdiff_t *offset) {
    ptrdiff_t size = fastln_item_size(task), block = 1;
    int open = 1; /* whether what is further out may still be part of it */
    *offset = 0;
    for (int axis = task->row_ndim - 1; axis >= 0; axis--) {
        ptrdiff_t width = task->row_shape[axis], index = axis > 0 ? first % width : first;
        first = axis > 0 ? first / width : 0;
        *offset += index * strides[axis];
        if (!open) continue;
        ptrdiff_t n = fastln_least(width - index, count / block);
        axes[(*ndim)++] = (fastln_axis){n, block * size, strides[axis]};
        block *= n;
        open = n == width && axis > 0 && count >= 2 * block;
    }
    return block;
}

/* Values [first, first + count) of the rows between `far`, where the first row begins, and `dense`. */
static void copy_rows(const fastln_task *task, char *far, const ptrdiff_t *strides, fastln_axis runs, fastln_axis rows,
                      ptrdiff_t first, ptrdiff_t count, char *dense, int gather) {
    while (count > 0) {
        fastln_axis axes[FASTLN_MAX_COPY_AXES] = {runs, rows};
        int ndim = 2;
        ptrdiff_t offset, n = find_block(task, strides, first, count, axes, &ndim, &offset);
        for (int i = 0; i < ndim && !gather; i++) axes[i] = (fastln_axis){axes[i].n, axes[i].from, axes[i].to};
        if (gather)
            fastln_copy(dense, far + offset, axes, ndim, fastln_item_size(task));
        else
            fastln_copy(far + offset, dense, axes, ndim, fastln_item_size(task));
        first += n;
        count -= n;
        dense += n * fastln_item_size(task);
    }
}

void fastln_gather(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense,
                   ptrdiff_t row) {
    copy_rows(task, (char *)runs->first.x, task->row_x_strides,
              (fastln_axis){runs->count, runs->first.count * row, runs->distance.x},
              (fastln_axis){runs->first.count, row, runs->first.stride.x}, first, count, dense, 1);
}

void fastln_scatter(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense,
                    ptrdiff_t row) {
    copy_rows(task, runs->first.y, task->row_y_strides,
              (fastln_axis){runs->count, runs->first.count * row, runs->distance.y},
              (fastln_axis){runs->first.count, row, runs->first.stride.y}, first, count, dense, 0);
}

typedef struct job {
    const fastln_task *task;
    const fastln_kernel *kernel;
    int dense_x, dense_y;
    char *windows;            /* one for each thread */
    ptrdiff_t size;           /* of a window, in bytes */
    ptrdiff_t total, at_once; /* rows in all, and in a window */
} job;

static void do_runs(const job *j, const fastln_runs *runs, char *window) {
    fastln_runs dense = *runs;
    fastln_rows *rows = &dense.first;
    ptrdiff_t row = fastln_window_stride(j->task, j->task->length);
    if (!j->dense_x) fastln_gather(j->task, runs, 0, j->task->length, window, row);
    if (!j->dense_x) rows->x = window, rows->stride.x = row, dense.distance.x = rows->count * row;
    if (!j->dense_y) rows->y = window, rows->stride.y = row, dense.distance.y = rows->count * row;
    if (fastln_nests(dense.distance, rows->stride, rows->count)) rows->count *= dense.count, dense.count = 1;
    j->kernel->rows(j->task, &dense);
    if (!j->dense_y && j->task->y) fastln_scatter(j->task, runs, 0, j->task->length, window, row);
}

static void do_window(void *context, ptrdiff_t i, int thread) {
    const job *j = context;
    ptrdiff_t begin = i * j->at_once, left = fastln_least(j->at_once, j->total - begin);
    fastln_walk walk;
    fastln_walk_from(&walk, j->task, begin);
    while (left > 0) {
        fastln_runs runs = fastln_walk_runs(&walk, left);
        do_runs(j, &runs, j->windows + thread * j->size);
        left -= runs.count * runs.first.count;
    }
}

int fastln_run_scattered(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads) {
    ptrdiff_t row = fastln_window_stride(task, task->length);
    if (fastln_prefers_pieces(task, rows, threads)) return fastln_run_pieces(task, kernel, rows, threads);
    job j = {.task = task,
             .kernel = kernel,
             .dense_x = fastln_dense_x(task),
             .dense_y = fastln_dense_y(task),
             .total = rows,
             .at_once = FASTLN_WINDOW / row};
    if (j.at_once < fastln_neighbours(task)) j.at_once = fastln_neighbours(task);
    j.at_once = fastln_least(j.at_once, rows);
    if (threads > 1) j.at_once = fastln_least(j.at_once, fastln_divide_up(rows, threads));
    j.size = fastln_divide_up(j.at_once * row, FASTLN_LINE) * FASTLN_LINE;
    void *memory = malloc((size_t)(threads * j.size + FASTLN_LINE));
    if (!memory) return -1;
    j.windows = fastln_line_after(memory);
    fastln_parallel_for(fastln_divide_up(rows, j.at_once), threads, do_window, &j);
    free(memory);
    return 0;
}
