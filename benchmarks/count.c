/* count.c: calls the kernels for callgrind, which collects and dumps what `counted` does. Reads cases from standard
 * input, a line each, as benchmarks/instructions.py lists them; prints the compiler that all of this was built with.
 *
 *   valgrind --tool=callgrind --toggle-collect=counted --dump-after=counted count ISA < cases */
#include "fastln.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

#define PAGE 4096 /* alignment, so that it is the same in every run */

static const char *case_text = "";

static void fail(const char *what) {
    fprintf(stderr, "count: %s%s\n", case_text, what);
    exit(1);
}

#define STRING(name) #name,
static const char *const operations[] = {FASTLN_FOR_EACH_OPERATION(STRING) NULL};
static const char *const dtypes[] = {FASTLN_FOR_EACH_DTYPE(STRING) NULL};
static const char *const layouts[] = {"rows", "columns", "scattered", NULL};

static int find(const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return i;
    fail("not a case");
    return 0;
}

static void *allocate(ptrdiff_t size) {
    void *bytes = aligned_alloc(PAGE, (size_t)(size + PAGE - 1) / PAGE * PAGE);
    if (!bytes) fail("out of memory");
    return bytes;
}

/* Numbers of both signs from 1 to 2, so that no row is a special case. */
static void *numbers(fastln_dtype dtype, ptrdiff_t count) {
    void *values = allocate(count * 8);
    uint64_t state = 1;
    for (ptrdiff_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t sign = state >> 63, fraction = state << 1;
        switch (dtype) {
        case FASTLN_f64: ((uint64_t *)values)[i] = sign << 63 | 0x3FFull << 52 | fraction >> 12; break;
        case FASTLN_f32: ((uint32_t *)values)[i] = (uint32_t)(sign << 31 | 0x7F << 23 | fraction >> 41); break;
        case FASTLN_f16: ((uint16_t *)values)[i] = (uint16_t)(sign << 15 | 0xF << 10 | fraction >> 54); break;
        default: ((uint16_t *)values)[i] = (uint16_t)(sign << 15 | 0x7F << 7 | fraction >> 57);
        }
    }
    return values;
}

/* Its result is looked at, so fastln_run does not take this function's place on the stack. */
NOINLINE void counted(const fastln_task *task);
NOINLINE void counted(const fastln_task *task) {
    if (fastln_run(task) != 0) fail("out of memory");
}

/* Axis 1 of an array of `outer` x `length` x `inner` values is normalized. Scattered rows with nothing beside them are
 * every other value of x. */
static void lay_out(fastln_task *task, ptrdiff_t item, ptrdiff_t outer, ptrdiff_t inner) {
    ptrdiff_t length = task->length, spread = task->layout == FASTLN_SCATTERED && inner == 1 ? 2 : 1;
    task->ndim = 2;
    task->shape[0] = outer, task->shape[1] = inner;
    task->strides[0].x = spread * (task->strides[0].y = length * inner * item);
    task->strides[1].x = spread * (task->strides[1].y = item);
    task->x_step = spread * (task->y_step = inner * item);
    if (task->layout == FASTLN_ROWS) {
        task->ndim = 1; /* as the callers do, who join axes */
    } else if (task->layout == FASTLN_SCATTERED) {
        task->row_ndim = 1;
        task->row_shape[0] = length;
        task->row_x_strides[0] = task->x_step;
        task->row_y_strides[0] = task->y_step;
    }
}

static void do_case(const char *text) {
    char operation[16], dtype[16], layout[16];
    ptrdiff_t outer, inner = 1;
    fastln_task task = {.subtract_mean = 1, .eps = 1e-5};
    case_text = text;
    if (sscanf(text, "%15s %15s %15s %tdx%tdx%td", operation, dtype, layout, &outer, &task.length, &inner) < 5)
        fail("not a case");
    task.operation = (fastln_operation)find(operations, operation);
    task.dtype = (fastln_dtype)find(dtypes, dtype);
    task.layout = (fastln_layout)find(layouts, layout);
    ptrdiff_t item = task.dtype == FASTLN_f64 ? 8 : task.dtype == FASTLN_f32 ? 4 : 2;
    lay_out(&task, item, outer, inner);
    fastln_dtype compute = task.dtype == FASTLN_f64 ? FASTLN_f64 : FASTLN_f32;
    void *x = numbers(task.dtype, 2 * outer * task.length * inner), *y = allocate(outer * task.length * inner * item);
    void *weight = numbers(compute, task.length), *bias = numbers(compute, task.length);
    task.x = x, task.y = y;
    if (strstr(text, " weight")) task.weight = weight;
    if (strstr(text, " bias")) task.bias = bias;
    fastln_run(&task); /* whatever is done once only */
    counted(&task);
    free(x), free(y), free(weight), free(bias);
}

int main(int argc, char **argv) {
    char line[80];
    if (argc != 2) fail("which instruction set?");
    if (fastln_isa_select(argv[1]) != 0) fail("this instruction set is not to be had here");
    fastln_set_num_threads(1);
#if defined(__clang__)
    printf("clang %d.%d.%d\n", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
    printf("gcc %d.%d.%d\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
    printf("unknown 0\n");
#endif
    while (fgets(line, sizeof line, stdin)) do_case(line);
    return 0;
}
