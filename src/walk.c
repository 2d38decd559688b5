/* walk.c: where the rows of a task are, run by run. */
#include "walk.h"

#include <stdint.h>

ptrdiff_t fastln_item_size(const fastln_task *task) {
    return task->dtype == FASTLN_f64 ? 8 : task->dtype == FASTLN_f32 ? 4 : 2;
}
ptrdiff_t fastln_compute_size(const fastln_task *task) { return task->dtype == FASTLN_f64 ? 8 : 4; }
char *fastln_line_after(void *memory) { return (char *)(((uintptr_t)memory + 63) & ~(uintptr_t)63); }

void fastln_walk_from(fastln_walk *walk, const fastln_task *task, ptrdiff_t row) {
    int last = task->ndim - 1;
    ptrdiff_t left = row, size = fastln_compute_size(task);
    walk->task = task;
    walk->next = (fastln_rows){
        .x = task->x,
        .y = task->y,
        .mean = task->mean ? (char *)task->mean + row * size : NULL,
        .rstd = task->rstd ? (char *)task->rstd + row * size : NULL,
        .x_stride = task->x_strides[last],
        .y_stride = task->y_strides[last],
    };
    for (int axis = last; axis >= 0; axis--) {
        ptrdiff_t outer = axis > 0 ? left / task->shape[axis] : 0, i = left - outer * task->shape[axis];
        walk->next.x += i * task->x_strides[axis];
        walk->next.y += i * task->y_strides[axis];
        walk->index[axis] = i;
        left = outer;
    }
    walk->next.count = task->shape[last] - walk->index[last];
}

/* The rows after `run`, of which all are done. */
static void next_run(fastln_walk *walk) {
    const fastln_task *task = walk->task;
    fastln_rows *next = &walk->next;
    int axis = task->ndim - 1;
    next->x -= task->shape[axis] * next->x_stride;
    next->y -= task->shape[axis] * next->y_stride;
    next->count = task->shape[axis];
    while (--axis >= 0) {
        next->x += task->x_strides[axis];
        next->y += task->y_strides[axis];
        if (++walk->index[axis] < task->shape[axis]) return;
        next->x -= task->shape[axis] * task->x_strides[axis];
        next->y -= task->shape[axis] * task->y_strides[axis];
        walk->index[axis] = 0;
    }
}

static void advance(fastln_walk *walk, ptrdiff_t rows, ptrdiff_t x, ptrdiff_t y) {
    fastln_rows *next = &walk->next;
    ptrdiff_t size = fastln_compute_size(walk->task);
    next->x += x;
    next->y += y;
    if (next->mean) next->mean += rows * size;
    if (next->rstd) next->rstd += rows * size;
}

fastln_rows fastln_walk_on(fastln_walk *walk, ptrdiff_t most) {
    fastln_rows rows = walk->next;
    if (rows.count > most) rows.count = most;
    advance(walk, rows.count, rows.count * rows.x_stride, rows.count * rows.y_stride);
    walk->next.count -= rows.count;
    if (walk->next.count == 0) next_run(walk);
    return rows;
}

fastln_runs fastln_walk_runs(fastln_walk *walk, ptrdiff_t most) {
    const fastln_task *task = walk->task;
    int last = task->ndim - 1;
    ptrdiff_t width = task->shape[last];
    if (last == 0 || walk->next.count < width || most < width)
        return (fastln_runs){.first = fastln_walk_on(walk, most), .count = 1};
    ptrdiff_t left = task->shape[last - 1] - walk->index[last - 1];
    fastln_runs runs = {walk->next, most / width < left ? most / width : left, task->x_strides[last - 1],
                        task->y_strides[last - 1]};
    ptrdiff_t further = runs.count - 1;
    advance(walk, further * width, further * runs.x_distance, further * runs.y_distance);
    walk->index[last - 1] += further;
    fastln_walk_on(walk, width);
    return runs;
}
