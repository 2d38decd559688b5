/* driver.c: the kernels without Python. Reads cases from standard input, as tests/vectors.py writes them, and writes
 * each y to standard output; so an instruction set that only an emulator runs can be compared bit for bit.
 *
 *   driver ISA < cases > results */
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

/* Operation, dtype, layout, rows, length, affine bits, subtract_mean; then eps; then the
 * values of x, weight and bias. */
static int do_case(void) {
    int64_t head[7];
    double eps;
    size_t got = fread(head, 1, sizeof head, stdin);
    if (got == 0) return 0;
    if (got != sizeof head || fread(&eps, sizeof eps, 1, stdin) != 1) fail("the case ends early");
    size_t item = item_sizes[head[1]], real = head[1] == FASTLN_f64 ? sizeof(double) : sizeof(float);
    size_t rows = (size_t)head[3], length = (size_t)head[4];
    fastln_task task = {.operation = (fastln_operation)head[0],
                        .dtype = (fastln_dtype)head[1],
                        .layout = (fastln_layout)head[2],
                        .subtract_mean = (int)head[6],
                        .eps = eps,
                        .length = (ptrdiff_t)length,
                        .ndim = 1};
    ptrdiff_t step = (ptrdiff_t)(task.layout == FASTLN_ROWS ? item : rows * item);
    task.x_step = task.y_step = step;
    task.shape[0] = (ptrdiff_t)rows;
    task.x_strides[0] = task.y_strides[0] = (ptrdiff_t)(task.layout == FASTLN_ROWS ? length * item : item);
    task.row_ndim = 1;
    task.row_shape[0] = (ptrdiff_t)length;
    task.row_x_strides[0] = task.row_y_strides[0] = step;
    void *x = read_bytes(rows * length * item), *y = malloc(rows * length * item + 1);
    void *weight = head[5] & 1 ? read_bytes(length * real) : NULL,
         *bias = head[5] & 2 ? read_bytes(length * real) : NULL;
    if (!y) fail("out of memory");
    task.x = x, task.y = y, task.weight = weight, task.bias = bias;
    if (fastln_run(&task) != 0) fail("out of memory");
    if (fwrite(y, item, rows * length, stdout) != rows * length) fail("cannot write");
    free(x), free(y), free(weight), free(bias);
    return 1;
}

int main(int argc, char **argv) {
    fastln_parallel_init();
    if (argc != 2) fail("which instruction set?");
    if (fastln_isa_select(argv[1]) != 0) fail("this instruction set is not to be had here");
    while (do_case()) continue;
    return 0;
}
