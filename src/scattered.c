/* scattered.c: rows that no kernel can read, copied to where one can. */
#include "scattered.h"

#include <stdint.h>
#include <string.h>

#include "compiler.h"

#define TURN 64 /* values that are copied in one direction before the next one has its turn: they share cache lines */

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

typedef struct block { /* where values are, in three dimensions; the distances in bytes */
    char *at;
    ptrdiff_t run, row, step;
} block;

/* One line of values, the innermost loop; with a constant size memcpy becomes a load and a store, at any alignment. */
FORCED_INLINE void copy_line(char *to, ptrdiff_t to_step, const char *from, ptrdiff_t from_step, ptrdiff_t n,
                             size_t size) {
    for (ptrdiff_t i = 0; i < n; i++) memcpy(to + i * to_step, from + i * from_step, size);
}

/* Lines along the rows if these are long, else across the runs. */
FORCED_INLINE void copy_items(block to, block from, ptrdiff_t runs, ptrdiff_t rows, ptrdiff_t count, size_t size) {
    if (count >= runs) {
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

/* A few rows whose values alternate in memory, as in pairs or pixels: with constants vectors are made of the loops. */
FORCED_INLINE void deal(char *restrict dense, ptrdiff_t row, const char *restrict far, ptrdiff_t count, ptrdiff_t rows,
                        ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(dense + r * row + i * size, far + (i * rows + r) * size, (size_t)size);
}
FORCED_INLINE void collect(char *restrict far, const char *restrict dense, ptrdiff_t row, ptrdiff_t count,
                           ptrdiff_t rows, ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(far + (i * rows + r) * size, dense + r * row + i * size, (size_t)size);
}

FORCED_INLINE void copy_sized(block to, block from, ptrdiff_t runs, ptrdiff_t rows, ptrdiff_t count, ptrdiff_t size) {
#define ALTERNATING(n)                                                                                                 \
    if (rows == n && from.row == size && from.step == n * size && to.step == size) {                                   \
        for (ptrdiff_t o = 0; o < runs; o++) deal(to.at + o * to.run, to.row, from.at + o * from.run, count, n, size); \
        return;                                                                                                        \
    }                                                                                                                  \
    if (rows == n && to.row == size && to.step == n * size && from.step == size) {                                     \
        for (ptrdiff_t o = 0; o < runs; o++)                                                                           \
            collect(to.at + o * to.run, from.at + o * from.run, from.row, count, n, size);                             \
        return;                                                                                                        \
    }
    if (count >= 4) {
        ALTERNATING(2)
        ALTERNATING(3)
        ALTERNATING(4)
    }
#undef ALTERNATING
    copy_items(to, from, runs, rows, count, (size_t)size);
}

static void copy_block(block to, block from, ptrdiff_t runs, ptrdiff_t rows, ptrdiff_t count, ptrdiff_t size) {
    if (to.step == size && from.step == size && count * size >= TURN) {
        for (ptrdiff_t o = 0; o < runs; o++)
            for (ptrdiff_t r = 0; r < rows; r++)
                memcpy(to.at + o * to.run + r * to.row, from.at + o * from.run + r * from.row, (size_t)(count * size));
    } else if (size == 4) {
        copy_sized(to, from, runs, rows, count, 4);
    } else if (size == 8) {
        copy_sized(to, from, runs, rows, count, 8);
    } else {
        copy_sized(to, from, runs, rows, count, 2);
    }
}

/* Values [first, first + count) of rows that begin at `far`, to or from `dense`. */
static void copy_rows(const fastln_task *task, block far, const ptrdiff_t *strides, ptrdiff_t runs, ptrdiff_t rows,
                      ptrdiff_t first, ptrdiff_t count, char *dense, int gather) {
    int last = task->row_ndim - 1;
    ptrdiff_t size = fastln_item_size(task), row = count * size, index[FASTLN_MAX_AXES], left = first;
    for (int axis = last; axis >= 0; axis--) {
        index[axis] = axis > 0 ? left % task->row_shape[axis] : left;
        far.at += index[axis] * strides[axis];
        if (axis > 0) left /= task->row_shape[axis];
    }
    while (count > 0) {
        ptrdiff_t n = min(task->row_shape[last] - index[last], count);
        block near = {dense, rows * row, row, size};
        far.step = strides[last];
        copy_block(gather ? near : far, gather ? far : near, runs, rows, n, size);
        count -= n;
        dense += n * size;
        far.at += n * strides[last];
        index[last] += n;
        for (int axis = last; axis > 0 && index[axis] == task->row_shape[axis]; axis--) {
            far.at += strides[axis - 1] - index[axis] * strides[axis];
            index[axis] = 0;
            index[axis - 1]++;
        }
    }
}

void fastln_gather(const fastln_task *task, const fastln_rows *rows, ptrdiff_t runs, ptrdiff_t first, ptrdiff_t count,
                   char *dense) {
    block x = {(char *)rows->x, task->ndim > 1 ? task->x_strides[task->ndim - 2] : 0, rows->x_stride, 0};
    copy_rows(task, x, task->row_x_strides, runs, rows->count, first, count, dense, 1);
}

void fastln_scatter(const fastln_task *task, const fastln_rows *rows, ptrdiff_t runs, ptrdiff_t first, ptrdiff_t count,
                    char *dense) {
    block y = {rows->y, task->ndim > 1 ? task->y_strides[task->ndim - 2] : 0, rows->y_stride, 0};
    copy_rows(task, y, task->row_y_strides, runs, rows->count, first, count, dense, 0);
}

/* As many at a time as there is room for: gathered, normalized in place, and scattered to y. */
void fastln_run_scattered(const fastln_task *task, const fastln_kernel *kernel, fastln_walk *walk, ptrdiff_t count) {
    char scratch[FASTLN_SCRATCH];
    ptrdiff_t size = task->length * fastln_item_size(task), runs;
    while (count > 0) {
        fastln_walk again = *walk;
        fastln_rows dense = {
            scratch, scratch, walk->next.mean, walk->next.rstd, size, size, min(count, FASTLN_SCRATCH / size)};
        for (ptrdiff_t done = 0; done < dense.count;) {
            fastln_rows rows = fastln_walk_runs(walk, dense.count - done, &runs);
            fastln_gather(task, &rows, runs, 0, task->length, scratch + done * size);
            done += rows.count * runs;
        }
        kernel->rows(task, &dense);
        for (ptrdiff_t done = 0; done < dense.count;) {
            fastln_rows rows = fastln_walk_runs(&again, dense.count - done, &runs);
            fastln_scatter(task, &rows, runs, 0, task->length, scratch + done * size);
            done += rows.count * runs;
        }
        count -= dense.count;
    }
}
