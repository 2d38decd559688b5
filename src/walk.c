/* walk.c: where the rows of a task are, run by run. */
#include "walk.h"

/* So many steps along an axis; back, if they are negative. */
static void go(fastln_walk *walk, int axis, ptrdiff_t steps) {
    const fastln_steps *step = walk->task->strides + axis;
    walk->at.x += steps * step->x;
    walk->at.y += steps * step->y;
    walk->at.weight += steps * step->weight;
    walk->at.bias += steps * step->bias;
    walk->at.stat += steps * step->stat;
}

void fastln_walk_from(fastln_walk *walk, const fastln_task *task, ptrdiff_t row) {
    int last = task->ndim - 1;
    walk->task = task;
    walk->at = (fastln_steps){0, 0, 0, 0, 0};
    for (int axis = last; axis >= 0; axis--) {
        ptrdiff_t outer = axis > 0 ? row / task->shape[axis] : 0;
        walk->index[axis] = row - outer * task->shape[axis];
        go(walk, axis, walk->index[axis]);
        row = outer;
    }
    walk->left = task->shape[last] - walk->index[last];
}

/* On to the next run. */
static void next_run(fastln_walk *walk) {
    const fastln_task *task = walk->task;
    int axis = task->ndim - 1;
    go(walk, axis, -task->shape[axis]);
    walk->left = task->shape[axis];
    while (--axis >= 0) {
        go(walk, axis, 1);
        if (++walk->index[axis] < task->shape[axis]) return;
        go(walk, axis, -task->shape[axis]);
        walk->index[axis] = 0;
    }
}

fastln_rows fastln_walk_on(fastln_walk *walk, ptrdiff_t most) {
    fastln_rows rows = fastln_rows_at(fastln_first_rows(walk->task), 1, walk->at);
    rows.count = fastln_least(walk->left, most);
    go(walk, walk->task->ndim - 1, rows.count);
    walk->left -= rows.count;
    if (walk->left == 0) next_run(walk);
    return rows;
}

fastln_runs fastln_walk_runs(fastln_walk *walk, ptrdiff_t most) {
    const fastln_task *task = walk->task;
    int outer = task->ndim - 2;
    ptrdiff_t width = task->shape[task->ndim - 1];
    if (outer < 0 || walk->left < width || most < width)
        return (fastln_runs){.first = fastln_walk_on(walk, most), .count = 1};
    fastln_runs runs = {.first = fastln_rows_at(fastln_first_rows(task), 1, walk->at),
                        .count = fastln_least(most / width, task->shape[outer] - walk->index[outer]),
                        .distance = task->strides[outer]};
    go(walk, outer, runs.count - 1);
    walk->index[outer] += runs.count - 1;
    fastln_walk_on(walk, width);
    return runs;
}
