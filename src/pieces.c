/* pieces.c: rows in pieces that threads may share. The arithmetic is that of a whole row: a piece is a subtree of its
 * blocks. For long rows, and for scattered ones where that saves a copy:
 *
 *   measure   reads a dense x where it is. Anything else is copied to where its values lie side by side: to y, if that is
 *             dense, or else to a window in cache.
 *   write     needs no order, so it goes along lines of values that lie side by side in x and y, if there are any,
 *             whichever axis they are of. Or else through the window, and from there to y.
 *
 * Scattered rows that lie in the same cache lines go together, up to 16 of them, and share the window. */
#include "pieces.h"

#include <stdint.h>
#include <stdlib.h>

#include "scattered.h"
#include "strided.h"
#include "walk.h"

enum {
    CACHE_LINE = 64,
    TOGETHER = 16,
    WINDOW_SIZE = FASTLN_WINDOW + TOGETHER * CACHE_LINE,
    SHORT_LINE = 64, /* values; along shorter lines the kernel is not worth its call */
    SHORT_ROW = 512, /* values; for shorter rows a piece is not worth it */
};

typedef struct plan {
    const fastln_task *task;
    const fastln_kernel *kernel;
    ptrdiff_t rows, together;       /* in all, and worked on at once */
    ptrdiff_t lanes, vectors, tail; /* in a row: lanes of a vector, vectors, values after them */
    ptrdiff_t leaf, count;          /* vectors in a piece, pieces in a row */
    int dense_x, dense_y;
    ptrdiff_t line;      /* values in a line, 0 if there are no lines */
    fastln_task written; /* the task as `apply` gets it: lines are the last axis of a row, and fetched one ahead */
    char *memory;        /* for each thread a window, and then its pieces */
    ptrdiff_t memory_size;
} plan;

typedef struct group { /* the rows at work on */
    const plan *plan;
    fastln_rows rows;
    fastln_scale scales[TOGETHER];
    int known[TOGETHER];  /* which have their scale; the others are measured */
    fastln_piece *pieces; /* `count` for each row */
    int thread, threads;  /* the thread whose memory is used, unless several share the rows */
    int copied;           /* x is in y already */
} group;

static char *window_of(const group *g, int thread) {
    return g->plan->memory + (g->threads > 1 ? thread : g->thread) * g->plan->memory_size;
}

/* Values [first, first + count) of the rows, where a kernel can read them and write them. */
static fastln_rows read_part(const group *g, ptrdiff_t first, ptrdiff_t count, int thread) {
    const plan *p = g->plan;
    fastln_rows part = g->rows;
    fastln_runs runs = {.first = g->rows, .count = 1};
    char *window = window_of(g, thread);
    ptrdiff_t row = fastln_window_stride(p->task, count);
    part.x += first * fastln_item_size(p->task);
    part.y += first * fastln_item_size(p->task);
    if (!p->dense_y) part.y = window, part.y_stride = row;
    if (!p->dense_x) {
        part.x = part.y, part.x_stride = part.y_stride;
        if (!g->copied) fastln_gather(p->task, &runs, first, count, part.y, part.y_stride);
    }
    return part;
}

static void measure_piece(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t first = i * p->leaf, vectors = fastln_least(p->leaf, p->vectors - first);
    if (vectors == 0) return; /* the last piece may be the tail alone */
    fastln_rows part = read_part(g, first * p->lanes, vectors * p->lanes, thread);
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!g->known[r])
            p->kernel->piece(part.x + r * part.x_stride, vectors, g->scales + r, g->pieces + r * p->count + i);
}

/* Leaves what it finds in the first of the piece's numbers. */
static void find_largest(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t piece = p->leaf * p->lanes, first = i * piece, count = fastln_least(piece, p->task->length - first);
    fastln_rows part = read_part(g, first, count, thread);
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!g->known[r]) g->pieces[r * p->count + i].lanes[0] = p->kernel->largest(part.x + r * part.x_stride, count);
}

/* The values between two places of a row, in its order in memory. */
static void write_lines(const group *g, ptrdiff_t first, ptrdiff_t end) {
    const fastln_task *task = &g->plan->written;
    ptrdiff_t line = g->plan->line;
    while (first < end) {
        ptrdiff_t n = fastln_least(line - first % line, end - first), left = first, x = 0, y = 0;
        for (int axis = task->row_ndim - 1; axis >= 0; axis--) {
            ptrdiff_t index = axis > 0 ? left % task->row_shape[axis] : left;
            left = axis > 0 ? left / task->row_shape[axis] : 0;
            x += index * task->row_x_strides[axis];
            y += index * task->row_y_strides[axis];
        }
        for (ptrdiff_t r = 0; r < g->rows.count; r++)
            g->plan->kernel->apply(task, g->scales + r, g->rows.x + r * g->rows.x_stride + x,
                                   g->rows.y + r * g->rows.y_stride + y, first, n);
        first += n;
    }
}

static void write_piece(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t piece = p->leaf * p->lanes, first = i * piece, count = fastln_least(piece, p->task->length - first);
    if (p->line) {
        write_lines(g, first, first + count);
        return;
    }
    fastln_rows part = read_part(g, first, count, thread);
    fastln_runs runs = {.first = g->rows, .count = 1};
    for (ptrdiff_t r = 0; r < part.count; r++)
        p->kernel->apply(&p->written, g->scales + r, part.x + r * part.x_stride, part.y + r * part.y_stride, first,
                         count);
    if (!p->dense_y) fastln_scatter(p->task, &runs, first, count, part.y, part.y_stride);
}

/* Finds the scales that are not known yet. Returns whether they all are now. */
static int measure(group *g) {
    const plan *p = g->plan;
    int all = 1;
    ptrdiff_t size = fastln_compute_size(p->task);
    fastln_parallel_for(p->count, g->threads, measure_piece, g);
    fastln_rows tails = read_part(g, p->vectors * p->lanes, p->tail, 0);
    for (ptrdiff_t r = 0; r < g->rows.count; r++) {
        fastln_rows row = {.mean = g->rows.mean ? g->rows.mean + r * size : NULL,
                           .rstd = g->rows.rstd ? g->rows.rstd + r * size : NULL,
                           .count = 1};
        if (!g->known[r])
            g->known[r] = p->kernel->combine(p->task, &row, tails.x + r * tails.x_stride, g->pieces + r * p->count,
                                             p->leaf, g->scales + r);
        all &= g->known[r];
    }
    g->copied = p->dense_y;
    return all;
}

/* The rows without a scale are scaled by a power of two, which makes them fine. */
static void measure_cold(group *g) {
    const plan *p = g->plan;
    fastln_parallel_for(p->count, g->threads, find_largest, g);
    for (ptrdiff_t r = 0; r < g->rows.count; r++) {
        double top = 0;
        if (g->known[r]) continue;
        for (ptrdiff_t i = 0; i < p->count; i++) {
            double largest = g->pieces[r * p->count + i].lanes[0];
            if (!(largest <= top)) top = largest + 0 * top; /* a NaN stays */
        }
        g->scales[r] = (fastln_scale){.cold = 1, .k = p->kernel->power(top, p->task->eps)};
    }
    measure(g);
}

static void do_group(const plan *p, fastln_rows rows, int thread, int threads) {
    group g;
    g.plan = p, g.rows = rows, g.thread = thread, g.threads = threads, g.copied = 0;
    g.pieces = (fastln_piece *)(p->memory + thread * p->memory_size + WINDOW_SIZE);
    for (int r = 0; r < TOGETHER; r++) {
        g.known[r] = 0;
        g.scales[r] = (fastln_scale){.cold = 0, .k = 1};
    }
    if (!measure(&g)) measure_cold(&g);
    fastln_parallel_for(p->count, threads, write_piece, &g);
}

/* Group number i, for a thread of its own. */
static void do_own_group(void *context, ptrdiff_t i, int thread) {
    const plan *p = context;
    fastln_walk walk;
    ptrdiff_t begin = i * p->together, end = fastln_least(begin + p->together, p->rows);
    fastln_walk_from(&walk, p->task, begin);
    while (begin < end) {
        fastln_rows rows = fastln_walk_on(&walk, end - begin);
        do_group(p, rows, thread, 1);
        begin += rows.count;
    }
}

/* How many of the rows, side by side in a run, lie in the same cache line. */
static ptrdiff_t count_neighbours(const fastln_task *task) {
    ptrdiff_t n = 1, last = task->ndim - 1, x = labs(task->x_strides[last]), y = labs(task->y_strides[last]);
    if (task->layout != FASTLN_SCATTERED) return 1;
    while (n < TOGETHER && n < task->shape[last] && (n * x < CACHE_LINE || n * y < CACHE_LINE)) n *= 2;
    return n;
}

/* How long the lines are in which values lie side by side, in x and in y, 0 if there are none; and the task for `apply`. */
static ptrdiff_t find_lines(const fastln_task *task, fastln_task *written) {
    ptrdiff_t size = fastln_item_size(task);
    uintptr_t offsets = (uintptr_t)task->x | (uintptr_t)task->y;
    int inner = -1, last = task->row_ndim - 1;
    *written = *task;
    written->x_step = written->y_step = 0;
    if (task->layout != FASTLN_SCATTERED || last == 0 || fastln_dense_y(task)) return 0;
    for (int axis = 0; axis < task->ndim; axis++)
        offsets |= (uintptr_t)task->x_strides[axis] | (uintptr_t)task->y_strides[axis];
    for (int axis = 0; axis <= last; axis++) {
        offsets |= (uintptr_t)task->row_x_strides[axis] | (uintptr_t)task->row_y_strides[axis];
        if (task->row_x_strides[axis] == size && task->row_y_strides[axis] == size) inner = axis;
    }
    if (inner < 0 || task->row_shape[inner] < SHORT_LINE || offsets % (uintptr_t)size) return 0;
    for (int axis = inner; axis < last; axis++) {
        written->row_shape[axis] = task->row_shape[axis + 1];
        written->row_x_strides[axis] = task->row_x_strides[axis + 1];
        written->row_y_strides[axis] = task->row_y_strides[axis + 1];
    }
    written->row_shape[last] = task->row_shape[inner];
    written->row_x_strides[last] = written->row_y_strides[last] = size;
    written->x_step = written->row_x_strides[last - 1];
    written->y_step = written->row_y_strides[last - 1];
    return task->row_shape[inner];
}

int fastln_prefers_pieces(const fastln_task *task) {
    fastln_task written;
    if (count_neighbours(task) * fastln_window_stride(task, task->length) > FASTLN_WINDOW) return 1;
    return task->length >= SHORT_ROW && find_lines(task, &written) > 0;
}

/* A weight or bias in the order of the lines, written to `to` if that is another one. The axis of the lines has values that
 * are `step` apart there. */
static const void *reorder(const plan *p, const void *vector, ptrdiff_t step, void *to) {
    ptrdiff_t size = fastln_compute_size(p->task), line = p->line;
    if (!vector || step == 1) return vector;
    fastln_axis axes[] = {{p->task->length / (line * step), line * step * size, line * step * size},
                          {step, line * size, size},
                          {line, size, step * size}};
    fastln_copy(to, vector, axes, 3, size);
    return to;
}

static ptrdiff_t step_of_lines(const fastln_task *task) {
    ptrdiff_t step = 1, size = fastln_item_size(task);
    for (int axis = task->row_ndim - 1; task->row_x_strides[axis] != size || task->row_y_strides[axis] != size; axis--)
        step *= task->row_shape[axis];
    return step;
}

int fastln_run_pieces(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads) {
    plan p = {.task = task, .kernel = kernel, .rows = rows, .together = count_neighbours(task)};
    ptrdiff_t vector_size = task->length * fastln_compute_size(task);
    p.lanes = CACHE_LINE / fastln_compute_size(task);
    p.vectors = task->length / p.lanes;
    p.tail = task->length % p.lanes;
    p.leaf = FASTLN_WINDOW / CACHE_LINE / p.together;
    p.count = (p.vectors + p.leaf) / p.leaf;
    p.dense_x = fastln_dense_x(task);
    p.dense_y = fastln_dense_y(task);
    p.line = find_lines(task, &p.written);
    p.memory_size = WINDOW_SIZE + p.together * p.count * (ptrdiff_t)sizeof(fastln_piece);
    ptrdiff_t step = p.line ? step_of_lines(task) : 1, ordered = step > 1 ? 2 * vector_size : 0;
    void *memory = malloc((size_t)(threads * p.memory_size + ordered + CACHE_LINE));
    if (!memory) return -1;
    p.memory = fastln_line_after(memory);
    char *vectors = p.memory + threads * p.memory_size;
    p.written.weight = reorder(&p, task->weight, step, vectors);
    p.written.bias = reorder(&p, task->bias, step, vectors + vector_size);
    ptrdiff_t groups = (rows + p.together - 1) / p.together;
    if (threads > 1 && groups >= 4 * threads) {
        fastln_parallel_for(groups, threads, do_own_group, &p);
    } else {
        fastln_walk walk;
        fastln_walk_from(&walk, task, 0);
        for (ptrdiff_t done = 0; done < rows;) {
            fastln_rows some = fastln_walk_on(&walk, p.together);
            do_group(&p, some, 0, threads);
            done += some.count;
        }
    }
    free(memory);
    return 0;
}
