/* run.c: cuts a task into runs of rows at equal distances, and into chunks for the threads. Where the cuts lie changes
 * nothing in the result: a row's arithmetic knows only the row. */
#include "fastln.h"

#include "pieces.h"
#include "scattered.h"
#include "walk.h"

#define LONG_VALUES (1 << 18) /* some 50 microseconds of work; for less the GIL is kept */
#define LINE_ROWS 16          /* chunks begin at multiples of this, so that columns of one cache line stay together */
#define GROUP_ROWS 128        /* or of this, where there are many: whole groups of rows */

typedef struct job {
    const fastln_task *task;
    const fastln_kernel *kernel;
    ptrdiff_t total, chunk; /* rows in all, and in a chunk */
} job;

static void run_rows(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t begin, ptrdiff_t count) {
    fastln_walk walk;
    fastln_walk_from(&walk, task, begin);
    while (count > 0) {
        if (task->layout == FASTLN_COLUMNS) {
            fastln_rows rows = fastln_walk_on(&walk, count);
            kernel->columns(task, &rows);
            count -= rows.count;
        } else {
            fastln_runs runs = fastln_walk_runs(&walk, count);
            kernel->rows(task, &runs);
            count -= runs.count * runs.first.count;
        }
    }
}

static void do_chunk(void *context, ptrdiff_t i, int thread) {
    const job *j = context;
    ptrdiff_t begin = i * j->chunk, left = j->total - begin;
    (void)thread;
    run_rows(j->task, j->kernel, begin, fastln_least(left, j->chunk));
}

int fastln_run(const fastln_task *task) {
    const fastln_kernel *kernel = fastln_active_kernel(task->operation, task->dtype);
    ptrdiff_t total = fastln_count_rows(task), vectors = task->length * fastln_compute_size(task) / FASTLN_VECTOR;
    int threads = fastln_worthwhile_threads(total * task->length);
    if (task->layout == FASTLN_SCATTERED) return fastln_run_scattered(task, kernel, total, threads);
    if (task->layout == FASTLN_ROWS && vectors >= FASTLN_SHARED_ROW && threads > 1 && total < 4 * threads)
        if (fastln_run_pieces(task, kernel, total, threads) == 0) return 0;
    if (threads == 1 && task->layout == FASTLN_ROWS && task->ndim == 1) { /* one run, without a walk to find it */
        fastln_runs runs = {.first = fastln_first_rows(task), .count = 1};
        kernel->rows(task, &runs);
        return 0;
    }
    if (threads == 1) {
        run_rows(task, kernel, 0, total);
        return 0;
    }
    /* Several chunks a thread: a late one holds up little. */
    job j = {.task = task, .kernel = kernel, .total = total, .chunk = fastln_divide_up(total, 4 * threads)};
    ptrdiff_t unit = total >= 8 * GROUP_ROWS * threads ? GROUP_ROWS : task->layout == FASTLN_ROWS ? 1 : LINE_ROWS;
    j.chunk = fastln_divide_up(j.chunk, unit) * unit;
    fastln_parallel_for(fastln_divide_up(total, j.chunk), threads, do_chunk, &j);
    return 0;
}

int fastln_is_long(const fastln_task *task) { return fastln_count_rows(task) * task->length >= LONG_VALUES; }
