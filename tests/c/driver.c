/* driver.c: the kernels without Python. Reads cases from standard input, as tests/vectors.py writes them, and writes
 * each y, or mean and variance, to standard output; so an instruction set that only an emulator runs can be compared
 * bit for bit.
 *
 *   driver ISA < cases > results
 *   driver ISA steps < cases > results      the steps of recurrent cells */
#include "cells.h"
#include "fastln.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what) {
    fprintf(stderr, "driver: %s\n", what);
    exit(1);
}

static void *read_bytes(size_t size) {
    void *bytes = malloc(size ? size : 1);
    if (!bytes || fread(bytes, 1, size, stdin) != size) fail("the case ends early");
    return bytes;
}

static const size_t item_sizes[FASTLN_DTYPES] = {
    [FASTLN_f32] = sizeof(float), [FASTLN_f64] = sizeof(double), [FASTLN_f16] = 2, [FASTLN_bf16] = 2};

/* The layouts of a case: those of a task, the last of them in three ways. */
enum { ROWS, COLUMNS, SCATTERED, REVERSED, PERMUTED };

/* Says where the values of x are, and those of y, which lies like it. Returns where the first one is, in bytes. */
static ptrdiff_t lay_out(fastln_task *task, int layout, ptrdiff_t rows, ptrdiff_t length, ptrdiff_t inner,
                         ptrdiff_t item) {
    int by_row = layout == ROWS || layout >= REVERSED;
    ptrdiff_t step = layout == REVERSED ? -item : by_row ? item : rows * item;
    task->layout = layout < SCATTERED ? (fastln_layout)layout : FASTLN_SCATTERED;
    task->length = length;
    task->ndim = 1;
    task->shape[0] = rows;
    task->strides[0].x = task->strides[0].y = by_row ? length * item : item;
    task->row_ndim = 1;
    task->row_shape[0] = length;
    task->x_step = task->row_x_strides[0] = step;
    if (layout == PERMUTED) { /* (inner, the rest) where memory has (the rest, inner) */
        task->row_ndim = 2;
        task->row_shape[0] = inner, task->row_shape[1] = length / inner;
        task->row_x_strides[0] = item, task->row_x_strides[1] = inner * item;
    }
    task->y_step = task->x_step;
    memcpy(task->row_y_strides, task->row_x_strides, sizeof task->row_x_strides);
    if (layout < SCATTERED) task->row_ndim = -1234567; /* what must not be read has no good value elsewhere, either */
    return layout == REVERSED ? (length - 1) * item : 0;
}

/* Operation, dtype, layout, rows, length, affine bits, subtract_mean, inner, form, part, part_step (-1:
 * one weight and bias for all rows, and no parts), parameters of a row, whether only moments are wanted; then eps; then
 * the values of x, weight and bias; then, of `normalize`, mean and rstd. */
static int do_case(void) {
    int64_t head[13];
    double eps;
    size_t got = fread(head, 1, sizeof head, stdin);
    if (got == 0) return 0;
    if (got != sizeof head || fread(&eps, sizeof eps, 1, stdin) != 1) fail("the case ends early");
    size_t item = item_sizes[head[1]], real = head[1] == FASTLN_f64 ? sizeof(double) : sizeof(float);
    size_t rows = (size_t)head[3], length = (size_t)head[4];
    fastln_task task = {.operation = (fastln_operation)head[0],
                        .dtype = (fastln_dtype)head[1],
                        .subtract_mean = (int)head[6],
                        .form = (fastln_form)head[8],
                        .part = (ptrdiff_t)head[9],
                        .part_step = head[10] < 0 ? 0 : (ptrdiff_t)head[10],
                        .wide = head[12] || head[0] == FASTLN_normalize,
                        .eps = eps};
    ptrdiff_t first =
        lay_out(&task, (int)head[2], (ptrdiff_t)rows, (ptrdiff_t)length, (ptrdiff_t)head[7], (ptrdiff_t)item);
    size_t parameters = (size_t)head[11], count = parameters * (head[10] < 0 ? 1 : rows);
    char *x = read_bytes(rows * length * item), *y = malloc(rows * length * item + 1);
    void *weight = head[5] & 1 ? read_bytes(count * real) : NULL, *bias = head[5] & 2 ? read_bytes(count * real) : NULL;
    double *stats = head[0] == FASTLN_normalize ? read_bytes(2 * rows * sizeof(double)) : NULL;
    if (head[12]) stats = malloc(2 * rows * sizeof(double));
    if (!y || (head[12] && !stats)) fail("out of memory");
    task.x = x + first, task.y = head[12] ? NULL : y + first, task.weight = weight, task.bias = bias;
    task.strides[0].weight = task.strides[0].bias = count > parameters ? (ptrdiff_t)(parameters * real) : 0;
    if (stats) task.mean = stats, task.rstd = stats + rows, task.strides[0].stat = sizeof(double);
    if (fastln_run(&task) != 0) fail("out of memory");
    size_t size = head[12] ? 2 * rows * sizeof(double) : rows * length * item;
    if (fwrite(head[12] ? (char *)stats : y, 1, size, stdout) != size) fail("cannot write");
    free(x), free(y), free(weight), free(bias), free(stats);
    return 1;
}

/* Cell, dtype, batch, hidden, width; then eps; then sums, input, h, c, weight, bias, inner_weight and inner_bias, each
 * after the number of its values, which is 0 for what there is not. */
static int do_step_case(void) {
    int64_t head[5];
    double eps;
    size_t got = fread(head, 1, sizeof head, stdin);
    if (got == 0) return 0;
    if (got != sizeof head || fread(&eps, sizeof eps, 1, stdin) != 1) fail("the case ends early");
    size_t item = item_sizes[head[1]], size = (size_t)(head[2] * head[3]) * item;
    void *arrays[8];
    for (int i = 0; i < 8; i++) {
        int64_t count;
        if (fread(&count, sizeof count, 1, stdin) != 1) fail("the case ends early");
        arrays[i] = count ? read_bytes((size_t)count * item) : NULL;
    }
    fastln_step step = {.cell = (fastln_cell)head[0],
                        .dtype = (fastln_dtype)head[1],
                        .batch = head[2],
                        .hidden = head[3],
                        .width = head[4],
                        .eps = eps,
                        .sums = arrays[0],
                        .input = arrays[1],
                        .h = arrays[2],
                        .c = arrays[3],
                        .weight = arrays[4],
                        .bias = arrays[5],
                        .inner_weight = arrays[6],
                        .inner_bias = arrays[7],
                        .y = malloc(size),
                        .y_stride = head[3] * (ptrdiff_t)item};
    if (!step.y) fail("out of memory");
    fastln_run_step(&step);
    if (memcmp(step.y, step.h, size) != 0) fail("y is not h");
    if (fwrite(step.h, 1, size, stdout) != size) fail("cannot write");
    if (step.c && fwrite(step.c, 1, size, stdout) != size) fail("cannot write");
    for (int i = 0; i < 8; i++) free(arrays[i]);
    free(step.y);
    return 1;
}

int main(int argc, char **argv) {
    fastln_parallel_init();
    if (argc < 2) fail("which instruction set?");
    if (fastln_isa_select(argv[1]) != 0) fail("this instruction set is not to be had here");
    while (argc > 2 ? do_step_case() : do_case()) continue;
    return 0;
}
