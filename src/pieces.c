/* pieces.c: long rows, one after the other, each in pieces that threads may share. The arithmetic is that of a whole row:
 * a piece is a subtree of its blocks. */
#include "pieces.h"

#include <stdlib.h>

#include "scattered.h"

#define TOGETHER 4 /* scattered rows that are worked on at once, for they may lie in the same cache lines */

typedef struct job {
    const fastln_task *task;
    const fastln_kernel *kernel;
    ptrdiff_t lanes, vectors, tail, count; /* lanes in a vector; in a row: vectors, values after them, pieces */
    fastln_rows rows;                      /* those at work on, at most TOGETHER */
    int known[TOGETHER];                   /* which have their scale */
    fastln_scale scales[TOGETHER];
    fastln_piece *pieces; /* `count` for each row */
} job;

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Values [first, first + count) of the rows, where a kernel can read them. */
static fastln_rows read_part(const job *j, ptrdiff_t first, ptrdiff_t count, char scratch[FASTLN_SCRATCH]) {
    fastln_rows part = j->rows;
    ptrdiff_t size = fastln_item_size(j->task);
    if (j->task->layout == FASTLN_SCATTERED) {
        fastln_gather(j->task, &j->rows, 1, first, count, scratch);
        part.x = part.y = scratch;
        part.x_stride = part.y_stride = count * size;
    } else {
        part.x += first * size;
        part.y += first * size;
    }
    return part;
}

static void measure_piece(void *context, ptrdiff_t i) {
    const job *j = context;
    char scratch[FASTLN_SCRATCH];
    ptrdiff_t first = i * FASTLN_PIECE, vectors = min(FASTLN_PIECE, j->vectors - first);
    if (vectors == 0) return; /* the last piece may be the tail alone */
    fastln_rows part = read_part(j, first * j->lanes, vectors * j->lanes, scratch);
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!j->known[r])
            j->kernel->piece(part.x + r * part.x_stride, vectors, j->scales + r, j->pieces + r * j->count + i);
}

static void find_largest(void *context, ptrdiff_t i) {
    const job *j = context;
    char scratch[FASTLN_SCRATCH];
    ptrdiff_t piece = FASTLN_PIECE * j->lanes, first = i * piece, count = min(piece, j->task->length - first);
    fastln_rows part = read_part(j, first, count, scratch);
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!j->known[r]) j->pieces[r * j->count + i].lanes[0] = j->kernel->largest(part.x + r * part.x_stride, count);
}

static void write_piece(void *context, ptrdiff_t i) {
    const job *j = context;
    char scratch[FASTLN_SCRATCH];
    ptrdiff_t piece = FASTLN_PIECE * j->lanes, first = i * piece, count = min(piece, j->task->length - first);
    fastln_rows part = read_part(j, first, count, scratch);
    for (ptrdiff_t r = 0; r < part.count; r++)
        j->kernel->apply(j->task, j->scales + r, part.x + r * part.x_stride, part.y + r * part.y_stride, first, count);
    if (j->task->layout == FASTLN_SCATTERED) fastln_scatter(j->task, &j->rows, 1, first, count, scratch);
}

/* The scales of the rows that have none yet. Returns how many now have. */
static ptrdiff_t measure_rows(job *j, int threads) {
    char scratch[FASTLN_SCRATCH];
    ptrdiff_t known = 0, size = fastln_compute_size(j->task);
    fastln_parallel_for(j->count, threads, measure_piece, j);
    fastln_rows tails = read_part(j, j->vectors * j->lanes, j->tail, scratch);
    for (ptrdiff_t r = 0; r < j->rows.count; r++) {
        fastln_rows row = {.mean = j->rows.mean ? j->rows.mean + r * size : NULL,
                           .rstd = j->rows.rstd ? j->rows.rstd + r * size : NULL,
                           .count = 1};
        if (!j->known[r])
            j->known[r] = j->kernel->combine(j->task, &row, tails.x + r * tails.x_stride, j->pieces + r * j->count,
                                             j->scales + r);
        known += j->known[r];
    }
    return known;
}

/* What was not fine is scaled by a power of two. */
static void measure_cold_rows(job *j, int threads) {
    fastln_parallel_for(j->count, threads, find_largest, j);
    for (ptrdiff_t r = 0; r < j->rows.count; r++) {
        double top = 0;
        for (ptrdiff_t i = 0; i < j->count && !j->known[r]; i++) {
            double largest = j->pieces[r * j->count + i].lanes[0];
            if (!(largest <= top)) top = largest + 0 * top; /* a NaN stays */
        }
        if (!j->known[r]) j->scales[r] = (fastln_scale){.cold = 1, .k = j->kernel->power(top, j->task->eps)};
    }
    measure_rows(j, threads);
}

int fastln_run_pieces(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads) {
    fastln_walk walk;
    ptrdiff_t together = task->layout == FASTLN_SCATTERED ? TOGETHER : 1;
    job j = {.task = task, .kernel = kernel, .lanes = 64 / fastln_compute_size(task)};
    j.vectors = task->length / j.lanes;
    j.tail = task->length % j.lanes;
    j.count = (task->length + FASTLN_PIECE * j.lanes - 1) / (FASTLN_PIECE * j.lanes);
    j.pieces = malloc((size_t)(together * j.count) * sizeof *j.pieces);
    if (!j.pieces) return -1;
    fastln_walk_from(&walk, task, 0);
    for (ptrdiff_t done = 0; done < rows; done += j.rows.count) {
        j.rows = fastln_walk_on(&walk, together);
        for (ptrdiff_t r = 0; r < j.rows.count; r++) {
            j.known[r] = 0;
            j.scales[r] = (fastln_scale){.cold = 0, .k = 1};
        }
        if (measure_rows(&j, threads) < j.rows.count) measure_cold_rows(&j, threads);
        fastln_parallel_for(j.count, threads, write_piece, &j);
    }
    free(j.pieces);
    return 0;
}
