/* added.c: the sum of two arrays, and its normalization while it is in cache, a few rows at a time. Of half types the
 * sum is normalized before it is rounded: it stays in a window, in the compute type. */
#include <stdlib.h>

#include "fastln.h"
#include "walk.h"

enum { AT_ONCE = 1 << 14 }; /* bytes of the sum, which stay in L1 or near it until they are normalized */

typedef struct job {
    const fastln_task *task; /* from the sum to y */
    const char *x, *residual;
    const fastln_kernel *kernel, *wide_kernel; /* of the dtype, and of the compute type */
    const fastln_task *wide_task;              /* from a window to itself; NULL if the sum is of the compute type */
    char *windows;                             /* of each thread */
    ptrdiff_t total, at_once;                  /* rows */
} job;

static void do_rows(const job *j, const fastln_rows *rows, char *window) {
    ptrdiff_t begin = rows->x - (const char *)j->task->x, count = rows->count * j->task->length;
    j->kernel->add(j->x + begin, j->residual + begin, (char *)(uintptr_t)rows->x, window, count);
    if (!j->wide_task) {
        fastln_runs runs = {.first = *rows, .count = 1};
        j->kernel->rows(j->task, &runs);
        return;
    }
    fastln_runs wide = {.first = *rows, .count = 1};
    wide.first.x = wide.first.y = window;
    wide.first.stride.x = wide.first.stride.y = j->task->length * fastln_compute_size(j->task);
    j->wide_kernel->rows(j->wide_task, &wide);
    j->kernel->narrow(window, rows->y, count);
}

static void do_chunk(void *context, ptrdiff_t i, int thread) {
    const job *j = context;
    ptrdiff_t begin = i * j->at_once, left = fastln_least(j->at_once, j->total - begin);
    char *window =
        j->windows ? j->windows + thread * j->at_once * j->task->length * fastln_compute_size(j->task) : NULL;
    fastln_walk walk;
    fastln_walk_from(&walk, j->task, begin);
    while (left > 0) {
        fastln_rows rows = fastln_walk_on(&walk, left);
        do_rows(j, &rows, window);
        left -= rows.count;
    }
}

int fastln_run_added(const fastln_task *task, const void *x, const void *residual) {
    int narrow = fastln_item_size(task) < fastln_compute_size(task);
    ptrdiff_t row = task->length * fastln_compute_size(task);
    job j = {.task = task, .x = x, .residual = residual, .total = fastln_count_rows(task)};
    int threads = fastln_worthwhile_threads(2 * j.total * task->length);
    fastln_task wide = *task;
    wide.dtype = fastln_item_size(task) == 8 ? FASTLN_f64 : FASTLN_f32;
    j.kernel = fastln_active_kernel(task->operation, task->dtype);
    j.wide_kernel = fastln_active_kernel(task->operation, wide.dtype);
    j.wide_task = narrow ? &wide : NULL;
    j.at_once = AT_ONCE / row > 0 ? AT_ONCE / row : 1;
    void *memory = narrow ? malloc((size_t)(threads * j.at_once * row + FASTLN_LINE)) : NULL;
    if (narrow && !memory) return -1;
    if (narrow) j.windows = fastln_line_after(memory), wide.x = wide.y = j.windows;
    fastln_parallel_for(fastln_divide_up(j.total, j.at_once), threads, do_chunk, &j);
    free(memory);
    return 0;
}
