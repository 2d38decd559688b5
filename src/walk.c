/* walk.c: where the rows of a task are, run by run. */
#include "walk.h"

void fastln_walk_from(fastln_walk *walk, const fastln_task *task, ptrdiff_t row) {
    int last = task->ndim - 1;
    ptrdiff_t left = row, size = fastln_compute_size(task);
    walk->task = task;
    walk->x = walk->y = 0;
    walk->next = (fastln_rows){
        .mean = task->mean ? (char *)task->mean + row * size : NULL,
        .rstd = task->rstd ? (char *)task->rstd + row * size : NULL,
        .x_stride = task->x_strides[last],
        .y_stride = task->y_strides[last],
    };
    for (int axis = last; axis >= 0; axis--) {
        ptrdiff_t outer = axis > 0 ? left / task->shape[axis] : 0, i = left - outer * task->shape[axis];
        walk->x += i * task->x_strides[axis];
        walk->y += i * task->y_strides[axis];
        walk->index[axis] = i;
        left = outer;
    }
    walk->next.count = task->shape[last] - walk->index[last];
}

/* On to the next run. */
static void next_run(fastln_walk *walk) {
    const fastln_task *task = walk->task;
    int axis = task->ndim - 1;
    walk->x -= task->shape[axis] * task->x_strides[axis];
    walk->y -= task->shape[axis] * task->y_strides[axis];
    walk->next.count = task->shape[axis];
    while (--axis >= 0) {
        walk->x += task->x_strides[axis];
        walk->y += task->y_strides[axis];
        if (++walk->index[axis] < task->shape[axis]) return;
        walk->x -= task->shape[axis] * task->x_strides[axis];
        walk->y -= task->shape[axis] * task->y_strides[axis];
        walk->index[axis] = 0;
    }
}

static void advance(fastln_walk *walk, ptrdiff_t rows, ptrdiff_t x, ptrdiff_t y) {
    fastln_rows *next = &walk->next;
    ptrdiff_t size = fastln_compute_size(walk->task);
    walk->x += x;
    walk->y += y;
    if (next->mean) next->mean += rows * size;
    if (next->rstd) next->rstd += rows * size;
}

static fastln_rows here(const fastln_walk *walk) {
    fastln_rows rows = walk->next;
    rows.x = (const char *)walk->task->x + walk->x;
    rows.y = (char *)walk->task->y + walk->y;
    return rows;
}

fastln_rows fastln_walk_on(fastln_walk *walk, ptrdiff_t most) {
    fastln_rows rows = here(walk);
    rows.count = fastln_least(rows.count, most);
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
    fastln_runs runs = {.first = here(walk),
                        .count = fastln_least(most / width, task->shape[last - 1] - walk->index[last - 1]),
                        .x_distance = task->x_strides[last - 1],
                        .y_distance = task->y_strides[last - 1]};
    ptrdiff_t further = runs.count - 1;
    advance(walk, further * width, further * runs.x_distance, further * runs.y_distance);
    walk->index[last - 1] += further;
    fastln_walk_on(walk, width);
    return runs;
}
