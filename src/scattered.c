/* scattered.c: rows that no kernel can read, copied to where one can, as many at a time as a window in cache has room
 * for; normalized there in place, and copied to y. */
#include "scattered.h"

#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "pieces.h"

#define TURN \
    64 /* values that are copied in one direction before the next has its turn: they lie in the same cache lines */

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

typedef struct block { /* where values are, in three dimensions; the distances in bytes */
    char *at;
    ptrdiff_t run, row, step;
} block;

/* One line of values; with a constant size memcpy becomes a load and a store, at any alignment. */
FORCED_INLINE void copy_line(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t from_step, ptrdiff_t n,
                             size_t size) {
    for (ptrdiff_t i = 0; i < n; i++) memcpy(to + i * to_step, from + i * from_step, size);
}

/* Lines across the rows if these lie side by side somewhere; else along them if they are long, or else across the runs. */
FORCED_INLINE void copy_lines(block to, block from, ptrdiff_t runs, ptrdiff_t rows, ptrdiff_t count, size_t size) {
    if (rows >= 8 && (labs(to.row) < labs(to.step) || labs(from.row) < labs(from.step))) {
        for (ptrdiff_t o = 0; o < runs; o++, to.at += to.run, from.at += from.run)
            for (ptrdiff_t r = 0; r < rows; r += TURN)
                for (ptrdiff_t i = 0; i < count; i++)
                    copy_line(to.at + r * to.row + i * to.step, to.row, from.at + r * from.row + i * from.step,
                              from.row, min(TURN, rows - r), size);
    } else if (count >= runs) {
        for (ptrdiff_t o = 0; o < runs; o++, to.at += to.run, from.at += from.run)
            for (ptrdiff_t i = 0; i < count; i += TURN)
                for (ptrdiff_t r = 0; r < rows; r++)
                    copy_line(to.at + r * to.row + i * to.step, to.step, from.at + r * from.row + i * from.step,
                              from.step, min(TURN, count - i), size);
    } else {
        for (ptrdiff_t o = 0; o < runs; o += TURN)
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t i = 0; i < count; i++)
                    copy_line(to.at + o * to.run + r * to.row + i * to.step, to.run,
                              from.at + o * from.run + r * from.row + i * from.step, from.run, min(TURN, runs - o),
                              size);
    }
}

/* `rows` rows whose values alternate in memory, as in pairs or pixels, on one side, and do not on the other. With constants
 * compilers make vectors of it. */
FORCED_INLINE void deal(char *restrict to, ptrdiff_t to_row, ptrdiff_t to_step, const char *restrict from,
                        ptrdiff_t from_row, ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t count, size_t size) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(to + r * to_row + i * to_step, from + r * from_row + i * from_step, size);
}

FORCED_INLINE void copy_items(block to, block from, ptrdiff_t runs, ptrdiff_t rows, ptrdiff_t count, ptrdiff_t size) {
#define DEAL(n)                                                                                                       \
    if (rows == n && from.row == size && from.step == n * size && to.step == size) {                                  \
        for (ptrdiff_t o = 0; o < runs; o++)                                                                          \
            deal(to.at + o * to.run, to.row, size, from.at + o * from.run, size, n * size, n, count, (size_t)size);   \
    } else if (rows == n && to.row == size && to.step == n * size && from.step == size) {                             \
        for (ptrdiff_t o = 0; o < runs; o++)                                                                          \
            deal(to.at + o * to.run, size, n * size, from.at + o * from.run, from.row, size, n, count, (size_t)size); \
    } else
    DEAL(2) DEAL(3) DEAL(4) copy_lines(to, from, runs, rows, count, (size_t)size);
#undef DEAL
}

static void copy_block(block to, block from, ptrdiff_t runs, ptrdiff_t rows, ptrdiff_t count, ptrdiff_t size) {
    if (to.step == size && from.step == size && count >= TURN) {
        for (ptrdiff_t o = 0; o < runs; o++)
            for (ptrdiff_t r = 0; r < rows; r++)
                memcpy(to.at + o * to.run + r * to.row, from.at + o * from.run + r * from.row, (size_t)(count * size));
        return;
    }
    switch (size) {
    case 2: copy_items(to, from, runs, rows, count, 2); break;
    case 4: copy_items(to, from, runs, rows, count, 4); break;
    case 8: copy_items(to, from, runs, rows, count, 8);
    }
}

ptrdiff_t fastln_dense_stride(const fastln_task *task, ptrdiff_t count) {
    ptrdiff_t bytes = count * fastln_item_size(task);
    return bytes % 1024 == 0 ? bytes + 64 : bytes; /* or they would all fight for the same places in the cache */
}

/* Values [first, first + count) of rows that begin at `far`, to or from `dense`. */
static void copy_rows(const fastln_task *task, block far, const ptrdiff_t *strides, const fastln_runs *runs,
                      ptrdiff_t first, ptrdiff_t count, char *dense, int gather) {
    int last = task->row_ndim - 1;
    ptrdiff_t size = fastln_item_size(task), row = fastln_dense_stride(task, count), width = task->row_shape[last];
    ptrdiff_t index[FASTLN_MAX_AXES], left = first;
    for (int axis = last; axis >= 0; axis--) {
        index[axis] = axis > 0 ? left % task->row_shape[axis] : left;
        far.at += index[axis] * strides[axis];
        if (axis > 0) left /= task->row_shape[axis];
    }
    while (count > 0) {
        ptrdiff_t n = min(width - index[last], count), lines = 1;
        block near = {dense, runs->first.count * row, row, size};
        far.step = strides[last];
        if (last > 0 && index[last] == 0 && runs->count * runs->first.count == 1) {
            /* Of one row, whole lines along the last but one of its axes are as good as rows. */
            lines = min(task->row_shape[last - 1] - index[last - 1], count / width);
            if (lines < 1) lines = 1;
            block near_lines = {dense, 0, n * size, size}, far_lines = {far.at, 0, strides[last - 1], strides[last]};
            copy_block(gather ? near_lines : far_lines, gather ? far_lines : near_lines, 1, lines, n, size);
            index[last - 1] += lines - 1;
            far.at += (lines - 1) * strides[last - 1];
        } else {
            copy_block(gather ? near : far, gather ? far : near, runs->count, runs->first.count, n, size);
        }
        count -= lines * n;
        dense += lines * n * size;
        far.at += n * strides[last];
        index[last] += n;
        for (int axis = last; axis > 0 && index[axis] == task->row_shape[axis]; axis--) {
            far.at += strides[axis - 1] - index[axis] * strides[axis];
            index[axis] = 0;
            index[axis - 1]++;
        }
    }
}

void fastln_gather(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense) {
    block x = {(char *)runs->first.x, runs->x_distance, runs->first.x_stride, 0}; /* only read */
    copy_rows(task, x, task->row_x_strides, runs, first, count, dense, 1);
}

void fastln_scatter(const fastln_task *task, const fastln_runs *runs, ptrdiff_t first, ptrdiff_t count, char *dense) {
    block y = {runs->first.y, runs->y_distance, runs->first.y_stride, 0};
    copy_rows(task, y, task->row_y_strides, runs, first, count, dense, 0);
}

typedef struct job {
    const fastln_task *task;
    const fastln_kernel *kernel;
    char *windows;            /* one for each thread */
    ptrdiff_t size;           /* of a window, in bytes */
    ptrdiff_t total, at_once; /* rows in all, and in a window */
} job;

static void do_window(void *context, ptrdiff_t i, int thread) {
    const job *j = context;
    char *window = j->windows + thread * j->size;
    ptrdiff_t row = fastln_dense_stride(j->task, j->task->length), begin = i * j->at_once;
    fastln_walk walk, again;
    fastln_walk_from(&walk, j->task, begin);
    again = walk;
    fastln_rows dense = {window, window, walk.next.mean, walk.next.rstd, row, row, min(j->at_once, j->total - begin)};
    for (ptrdiff_t done = 0; done < dense.count;) {
        fastln_runs runs = fastln_walk_runs(&walk, dense.count - done);
        fastln_gather(j->task, &runs, 0, j->task->length, window + done * row);
        done += runs.count * runs.first.count;
    }
    j->kernel->rows(j->task, &dense);
    for (ptrdiff_t done = 0; done < dense.count;) {
        fastln_runs runs = fastln_walk_runs(&again, dense.count - done);
        fastln_scatter(j->task, &runs, 0, j->task->length, window + done * row);
        done += runs.count * runs.first.count;
    }
}

int fastln_run_scattered(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads) {
    ptrdiff_t row = fastln_dense_stride(task, task->length);
    if (row > FASTLN_WINDOW / 8) return fastln_run_pieces(task, kernel, rows, threads);
    job j = {.task = task, .kernel = kernel, .total = rows, .at_once = min(FASTLN_WINDOW / row, rows)};
    if (threads > 1) j.at_once = min(j.at_once, (rows + threads - 1) / threads);
    j.size = (j.at_once * row + 63) / 64 * 64;
    void *memory = malloc((size_t)(threads * j.size + 64));
    if (!memory) return -1;
    j.windows = fastln_line_after(memory);
    fastln_parallel_for((rows + j.at_once - 1) / j.at_once, threads, do_window, &j);
    free(memory);
    return 0;
}
