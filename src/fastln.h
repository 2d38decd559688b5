/* fastln.h: the one contract between the kernels and everything that calls them.
 *
 *   _core.pyx / kernels.pyx  ->  fastln_run(task)      run.c       cuts a task into runs, serial or parallel
 *                            ->  kernel->rows(...)     rows.inc.h, columns.inc.h, pieces.inc.h
 *                                                      the arithmetic, compiled once per instruction set
 *
 * A task names arrays by address, shape and stride; it owns nothing. It must be valid: the callers check,
 * the kernels do not. */
#ifndef FASTLN_H
#define FASTLN_H

#include <stddef.h>
#include <stdint.h>

/* The lists that declarations, dispatch, tests and benchmarks are driven by. */
#define FASTLN_FOR_EACH_ISA(X) X(scalar) X(avx2) X(avx512) X(neon) /* the best one last */
#define FASTLN_FOR_EACH_DTYPE(X) X(f32) X(f64) X(f16) X(bf16)
#define FASTLN_FOR_EACH_OPERATION(X) X(layer_norm) X(rms_norm) X(normalize)
#define FASTLN_FOR_EACH_CELL(X) X(rnn_tanh) X(rnn_relu) X(lstm) X(gru)

#define FASTLN_NAME_DTYPE(name) FASTLN_##name,
#define FASTLN_NAME_OPERATION(name) FASTLN_##name,
typedef enum { FASTLN_ROWS, FASTLN_COLUMNS, FASTLN_SCATTERED } fastln_layout;
typedef enum { FASTLN_FOR_EACH_DTYPE(FASTLN_NAME_DTYPE) FASTLN_DTYPES } fastln_dtype;
typedef enum { FASTLN_FOR_EACH_OPERATION(FASTLN_NAME_OPERATION) FASTLN_OPERATIONS } fastln_operation;

/* How t, the normalized value, becomes y. */
typedef enum {
    FASTLN_EACH,   /* t * weight + bias, one of each for each value of a part */
    FASTLN_SPREAD, /* t * weight + bias, one of each for all values of a part */
    FASTLN_ADA,    /* t * (t * weight + bias), one of each for all values of a part (AdaNorm) */
} fastln_form;

#define FASTLN_MAX_AXES 64

/* From one place to another, in bytes, in all arrays of a task; `stat` in mean and rstd. */
typedef struct fastln_steps { ptrdiff_t x, y, weight, bias, stat; } fastln_steps;

/* One call. The array is seen as rows of `length` values that are normalized together; the remaining
 * ("other") axes only say where the rows are. Three layouts:
 *   rows       the values of a row lie side by side;
 *   columns    they are x_step bytes apart, and the rows lie side by side along the last of the other axes, whose
 *              stride is the item size;
 *   scattered  they are anywhere, also misaligned: the row axes say where.
 * y is laid out like x, with strides of its own, and may be x itself; NULL if only the statistics are wanted.
 *
 * The operation `normalize` gathers no statistics: mean, if there is one, and rstd are given. */
typedef struct fastln_task {
    fastln_operation operation;
    fastln_dtype dtype;
    fastln_layout layout;
    int subtract_mean; /* layer_norm: 0 leaves the mean in y; the variance is centred all the same */
    const void *x;
    void *y;
    const void *weight, *bias; /* of the compute type (float; double for f64), contiguous along a part; or NULL */
    fastln_form form;
    ptrdiff_t part, part_step; /* the parts of a row, in values, and those of weight and bias; part 0: the whole row */
    void *mean, *rstd;         /* a value per row, or NULL: of the compute type, */
    int wide; /* or double, mean and variance, without eps, instead; normalize: mean and rstd, always double */
    double eps;
    ptrdiff_t length;
    ptrdiff_t x_step, y_step; /* columns: from value to value; rows do not read them. In bytes, as all strides */
    int ndim;                 /* number of other axes, outermost first; at least 1 */
    ptrdiff_t shape[FASTLN_MAX_AXES];
    fastln_steps strides[FASTLN_MAX_AXES];
    int row_ndim; /* scattered only: the normalized axes, at least 1; their shape multiplies to `length` */
    ptrdiff_t row_shape[FASTLN_MAX_AXES], row_x_strides[FASTLN_MAX_AXES], row_y_strides[FASTLN_MAX_AXES];
} fastln_task;

/* Rows at equal distances, a run: a part of a task that a kernel does in one go. */
typedef struct fastln_rows {
    const char *x;
    char *y;
    const char *weight, *bias;
    char *mean, *rstd;
    fastln_steps stride; /* from row to row; x and y in the columns layout: the item size */
    ptrdiff_t count;
} fastln_rows;

/* Several runs at equal distances. */
typedef struct fastln_runs {
    fastln_rows first;
    ptrdiff_t count;
    fastln_steps distance;
} fastln_runs;

/* What a long row's pieces leave behind for `combine`: two vectors of 64 bytes. */
typedef struct fastln_piece { double lanes[16]; } fastln_piece;

/* What the second walk over a row needs, widened; before, what is measured around minus `minus`, and whether that is so
 * again. A cold row's values are multiplied by k first. */
typedef struct fastln_scale {
    int cold, again;
    double k, minus, rstd, shift;
} fastln_scale;

/* One operation on one dtype. `rows` and `columns` do everything for runs, or a run. A long row that is scattered, or
 * split among threads, goes through the others: `near` finds what to measure around from a sample of eight vectors (of
 * 64 bytes of the compute type: fastln_sampled); `piece` gathers the sums of some vectors; `combine` adds those of the
 * pieces of a row, all but the last of `leaf` vectors, a power of two and at least 64, and of its tail (less than a
 * vector), and finds the scale; or returns 0: then it is to be measured `again`, as the sample was not like the row; or
 * else it is a cold row, whose k is to be found from its `largest` value by `power`, for another pass. Where statistics
 * are given, `piece` is NULL and `combine` reads them. `apply` writes `count` values of the one row, x and y being
 * where they are, and `first` their number in the row; of a scattered row it fetches those that are x_step and y_step
 * further on. `add` writes count values of x + residual, and, unless they are of the compute type already, leaves them in
 * `wide`, unrounded, from where `narrow` rounds what has become of them. */
typedef struct fastln_kernel {
    void (*rows)(const fastln_task *task, const fastln_runs *runs);
    void (*columns)(const fastln_task *task, const fastln_rows *rows);
    void (*near)(const char *sample, fastln_scale *scale);
    void (*piece)(const char *x, ptrdiff_t vectors, const fastln_scale *scale, fastln_piece *piece);
    int (*combine)(const fastln_task *task, const fastln_rows *row, const char *tail, const fastln_piece *pieces,
                   ptrdiff_t leaf, fastln_scale *scale);
    void (*apply)(const fastln_task *task, const fastln_scale *scale, const fastln_rows *row, ptrdiff_t first,
                  ptrdiff_t count);
    double (*largest)(const char *x, ptrdiff_t count);
    double (*power)(double largest, double eps);
    void (*add)(const char *x, const char *residual, char *sum, char *wide, ptrdiff_t count);
    void (*narrow)(const char *wide, char *y, ptrdiff_t count);
} fastln_kernel;

/* A step of a recurrent cell: cells.h. */
typedef struct fastln_step fastln_step;
typedef void (*fastln_run_cell)(const fastln_step *step);

typedef struct fastln_isa {
    const char *name;
    const fastln_kernel *kernels[FASTLN_DTYPES]; /* an array of FASTLN_OPERATIONS for each dtype */
    const fastln_run_cell *cells[FASTLN_DTYPES]; /* an array of FASTLN_CELLS for f32 and f64 */
} fastln_isa;

/* isa_<name>.c: the table, or NULL where the compiler was not given, or does not know, the instruction set. */
#define FASTLN_DECLARE_ISA(name) extern const fastln_isa *const fastln_isa_##name;
FASTLN_FOR_EACH_ISA(FASTLN_DECLARE_ISA)

/* dispatch.c. Names are those of FASTLN_FOR_EACH_ISA. */
int fastln_isa_count(void);
const char *fastln_isa_name(int i);
int fastln_isa_compiled(int i);
int fastln_isa_supported(int i); /* by this processor and its operating system */
const char *fastln_isa_active(void);
int fastln_isa_select(const char *name); /* 0, or -1 (nothing changed): unknown, not compiled or not supported */
void fastln_isa_select_best(void);
const fastln_kernel *fastln_active_kernel(fastln_operation operation, fastln_dtype dtype);
const fastln_run_cell *fastln_active_cells(fastln_dtype dtype); /* one for each of FASTLN_FOR_EACH_CELL */

/* Arrays of one shape. weight, bias and statistics have strides along the axes that are not normalized, 0 where they
 * are repeated. */
typedef struct fastln_arrays {
    int ndim;
    const ptrdiff_t *shape, *x_strides, *y_strides, *weight_strides, *bias_strides, *stat_strides;
    uint64_t normalized; /* the set of these axes, one bit each */
    ptrdiff_t item_size; /* of x and y */
    int aligned;         /* to it */
} fastln_arrays;

/* layout.c: fills in what a task says of places: layout, length, axes; its form and part are known. order: all axes,
 * outermost first, as y would best lie in memory. */
void fastln_describe(fastln_task *task, const fastln_arrays *arrays, int *order);
/* Last of all: rows with the same weight and bias, as those of q and those of k, go one after the other. */
void fastln_order_rows(fastln_task *task);
/* The same for `rows` rows one after the other, with one weight, one bias, and statistics side by side. */
void fastln_describe_rows(fastln_task *task, ptrdiff_t rows, ptrdiff_t length);

/* run.c */
int fastln_run(const fastln_task *task); /* with or without the GIL, from any thread; -1, and nothing done: no memory */
/* The same for the sum x + residual, which is written to the task's x first. The layout is that of rows; all four
 * arrays are rows one after the other. The sum, or y, but not both, may be x or the residual. */
int fastln_run_added(const fastln_task *task, const void *x, const void *residual);
int fastln_is_long(const fastln_task *task); /* worth releasing the GIL for */

/* parallel.c */
typedef void (*fastln_work)(void *context, ptrdiff_t index, int thread); /* thread: counted from 0 */
const char *fastln_parallel_init(void);    /* at import, first of all; NULL, or what is wrong with the environment */
const char *fastln_parallel_runtime(void); /* "OpenMP 201511", or "none (built without OpenMP)" and the like */
int fastln_get_num_threads(void);
int fastln_set_num_threads(int n); /* n >= 1, or 0 for the default; returns what was set before, in the same form */
int fastln_worthwhile_threads(ptrdiff_t values); /* for work on so many of them, here and now */
void fastln_parallel_careless(int on);           /* for tests: threads whenever they may be used */
/* Calls work(context, i, thread) for each i in [0, count), on up to `threads` threads; in the calling thread alone when
 * another parallel region of ours is under way, or when the process could not survive one. */
void fastln_parallel_for(ptrdiff_t count, int threads, fastln_work work, void *context);

#endif
