/* run.c: cuts a task into runs of rows at equal distances, and into chunks for the threads. Where the cuts lie changes
 * nothing in the result: a row's arithmetic knows only the row. */
#include "fastln.h"

#include <stdlib.h>

/* Values from which there is a second thread, and from which the GIL is released. A region takes microseconds while the
 * team is awake and milliseconds when it is not, so small work has none; where exactly it pays was not measured yet. */
#define PARALLEL_VALUES (1 << 19)
#define LONG_VALUES (1 << 18)
/* Chunks begin at multiples of this: whole groups of rows, whole tiles of columns. */
#define CHUNK_ROWS 128

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static ptrdiff_t count_rows(const fastln_task *task) {
    ptrdiff_t rows = 1;
    for (int axis = 0; axis < task->ndim; axis++) rows *= task->shape[axis];
    return rows;
}

static ptrdiff_t compute_size(const fastln_task *task) { return task->dtype == FASTLN_f64 ? 8 : 4; }

/* The run from row `index` on, to the end of the innermost of the other axes. */
static fastln_rows run_at(const fastln_task *task, ptrdiff_t index) {
    int last = task->ndim - 1;
    ptrdiff_t left = index, x = 0, y = 0, count = 0;
    for (int axis = last; axis >= 0; axis--) {
        ptrdiff_t outer = axis > 0 ? left / task->shape[axis] : 0, i = left - outer * task->shape[axis];
        x += i * task->x_strides[axis];
        y += i * task->y_strides[axis];
        if (axis == last) count = task->shape[axis] - i;
        left = outer;
    }
    return (fastln_rows){
        .x = (const char *)task->x + x,
        .y = (char *)task->y + y,
        .mean = task->mean ? (char *)task->mean + index * compute_size(task) : NULL,
        .rstd = task->rstd ? (char *)task->rstd + index * compute_size(task) : NULL,
        .x_stride = task->x_strides[last],
        .y_stride = task->y_strides[last],
        .count = count,
    };
}

static void run_rows(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t begin, ptrdiff_t end) {
    while (begin < end) {
        fastln_rows rows = run_at(task, begin);
        rows.count = min(rows.count, end - begin);
        (task->columns ? kernel->columns : kernel->rows)(task, &rows);
        begin += rows.count;
    }
}

typedef struct job {
    const fastln_task *task;
    const fastln_kernel *kernel;
    ptrdiff_t total, chunk; /* rows in all, and in a chunk */
    /* for one huge row */
    fastln_rows row;
    ptrdiff_t vectors;
    fastln_piece *pieces;
    fastln_scale scale;
} job;

static void do_chunk(void *context, ptrdiff_t i) {
    const job *j = context;
    run_rows(j->task, j->kernel, i * j->chunk, min((i + 1) * j->chunk, j->total));
}

static void do_piece(void *context, ptrdiff_t i) {
    const job *j = context;
    ptrdiff_t end = min((i + 1) * FASTLN_PIECE, j->vectors);
    j->kernel->piece(j->task, j->row.x, i * FASTLN_PIECE, end, j->pieces + i);
}

static void apply_piece(void *context, ptrdiff_t i) {
    const job *j = context;
    ptrdiff_t lanes = 64 / compute_size(j->task), end = (i + 1) * FASTLN_PIECE;
    j->kernel->apply(j->task, &j->row, &j->scale, i * FASTLN_PIECE * lanes,
                     end >= j->vectors ? j->task->length : end * lanes);
}

/* Few and huge rows: the threads share each of them. */
static void run_split(job *j, int threads) {
    ptrdiff_t count = (j->vectors + FASTLN_PIECE - 1) / FASTLN_PIECE;
    j->pieces = malloc((size_t)count * sizeof *j->pieces);
    if (!j->pieces) {
        run_rows(j->task, j->kernel, 0, j->total);
        return;
    }
    for (ptrdiff_t i = 0; i < j->total; i++) {
        j->row = run_at(j->task, i);
        fastln_parallel_for(count, threads, do_piece, j);
        if (j->kernel->combine(j->task, &j->row, j->pieces, &j->scale))
            fastln_parallel_for(count, threads, apply_piece, j);
        else
            run_rows(j->task, j->kernel, i, i + 1);
    }
    free(j->pieces);
}

void fastln_run(const fastln_task *task) {
    const fastln_kernel *kernel = fastln_active_kernel(task->operation, task->dtype);
    ptrdiff_t total = count_rows(task);
    int threads = total * task->length < PARALLEL_VALUES ? 1 : fastln_get_num_threads();
    if (threads == 1) {
        run_rows(task, kernel, 0, total);
        return;
    }
    job j = {.task = task, .kernel = kernel, .total = total, .vectors = task->length * compute_size(task) / 64};
    if (!task->columns && total < 4 * threads && j.vectors >= 2 * FASTLN_PIECE) {
        run_split(&j, threads);
        return;
    }
    ptrdiff_t unit = task->columns || total >= 8 * CHUNK_ROWS * threads ? CHUNK_ROWS : 1;
    j.chunk = (total / (4 * threads) + unit) / unit * unit; /* several chunks a thread: a late one holds up little */
    fastln_parallel_for((total + j.chunk - 1) / j.chunk, threads, do_chunk, &j);
}

int fastln_is_long(const fastln_task *task) { return count_rows(task) * task->length >= LONG_VALUES; }
