/* pieces.c: long rows, a few at a time, each in pieces that threads may share. The arithmetic is that of a whole row: a
 * piece is a subtree of its blocks.
 *
 * Scattered rows that lie in the same cache lines go together, up to 16 of them, and share the window. */
#include "pieces.h"

#include <stdlib.h>

#include "scattered.h"
#include "walk.h"

enum { LINE = 64, TOGETHER = 16, WINDOW_SIZE = FASTLN_WINDOW + TOGETHER * LINE };

typedef struct plan {
    const fastln_task *task;
    const fastln_kernel *kernel;
    ptrdiff_t rows, together;       /* in all, and worked on at once */
    ptrdiff_t lanes, vectors, tail; /* in a row: lanes of a vector, vectors, values after them */
    ptrdiff_t leaf, count;          /* vectors in a piece, pieces in a row */
    char *memory;                   /* for each thread a window, and then its pieces */
    ptrdiff_t memory_size;
} plan;

typedef struct group { /* the rows at work on */
    const plan *plan;
    fastln_rows rows;
    fastln_scale scales[TOGETHER];
    int known[TOGETHER];  /* which have their scale; the others are measured */
    fastln_piece *pieces; /* `count` for each row */
    int thread, threads;  /* the thread whose memory is used, unless several share the rows */
} group;

static ptrdiff_t min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Values [first, first + count) of the rows, where a kernel can read them. */
static fastln_rows read_part(const group *g, ptrdiff_t first, ptrdiff_t count, char *window) {
    const fastln_task *task = g->plan->task;
    fastln_rows part = g->rows;
    ptrdiff_t size = fastln_item_size(task);
    if (task->layout == FASTLN_SCATTERED) {
        fastln_runs runs = {.first = g->rows, .count = 1};
        fastln_gather(task, &runs, first, count, window);
        part.x = part.y = window;
        part.x_stride = part.y_stride = fastln_dense_stride(task, count);
    } else {
        part.x += first * size;
        part.y += first * size;
    }
    return part;
}

static char *window_of(const group *g, int thread) {
    return g->plan->memory + (g->threads > 1 ? thread : g->thread) * g->plan->memory_size;
}

static void measure_piece(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t first = i * p->leaf, vectors = min(p->leaf, p->vectors - first);
    if (vectors == 0) return; /* the last piece may be the tail alone */
    fastln_rows part = read_part(g, first * p->lanes, vectors * p->lanes, window_of(g, thread));
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!g->known[r])
            p->kernel->piece(part.x + r * part.x_stride, vectors, g->scales + r, g->pieces + r * p->count + i);
}

/* Leaves what it finds in the first of the piece's numbers. */
static void find_largest(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t piece = p->leaf * p->lanes, first = i * piece, count = min(piece, p->task->length - first);
    fastln_rows part = read_part(g, first, count, window_of(g, thread));
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!g->known[r]) g->pieces[r * p->count + i].lanes[0] = p->kernel->largest(part.x + r * part.x_stride, count);
}

static void write_piece(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    char *window = window_of(g, thread);
    ptrdiff_t piece = p->leaf * p->lanes, first = i * piece, count = min(piece, p->task->length - first);
    fastln_rows part = read_part(g, first, count, window);
    for (ptrdiff_t r = 0; r < part.count; r++)
        p->kernel->apply(p->task, g->scales + r, part.x + r * part.x_stride, part.y + r * part.y_stride, first, count);
    if (p->task->layout == FASTLN_SCATTERED) {
        fastln_runs runs = {.first = g->rows, .count = 1};
        fastln_scatter(p->task, &runs, first, count, window);
    }
}

/* Finds the scales that are not known yet. Returns whether they all are now. */
static int measure(group *g) {
    const plan *p = g->plan;
    int all = 1;
    ptrdiff_t size = fastln_compute_size(p->task);
    fastln_parallel_for(p->count, g->threads, measure_piece, g);
    fastln_rows tails = read_part(g, p->vectors * p->lanes, p->tail, window_of(g, 0));
    for (ptrdiff_t r = 0; r < g->rows.count; r++) {
        fastln_rows row = {.mean = g->rows.mean ? g->rows.mean + r * size : NULL,
                           .rstd = g->rows.rstd ? g->rows.rstd + r * size : NULL,
                           .count = 1};
        if (!g->known[r])
            g->known[r] = p->kernel->combine(p->task, &row, tails.x + r * tails.x_stride, g->pieces + r * p->count,
                                             p->leaf, g->scales + r);
        all &= g->known[r];
    }
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
    g.plan = p, g.rows = rows, g.thread = thread, g.threads = threads;
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
    ptrdiff_t begin = i * p->together, end = min(begin + p->together, p->rows);
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
    while (n < TOGETHER && n < task->shape[last] && (n * x < LINE || n * y < LINE)) n *= 2;
    return n;
}

int fastln_run_pieces(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads) {
    plan p = {.task = task, .kernel = kernel, .rows = rows, .together = count_neighbours(task)};
    p.lanes = LINE / fastln_compute_size(task);
    p.vectors = task->length / p.lanes;
    p.tail = task->length % p.lanes;
    p.leaf = FASTLN_WINDOW / LINE / p.together;
    p.count = (p.vectors + p.leaf) / p.leaf;
    p.memory_size = WINDOW_SIZE + p.together * p.count * (ptrdiff_t)sizeof(fastln_piece);
    void *memory = malloc((size_t)(threads * p.memory_size + LINE));
    if (!memory) return -1;
    p.memory = fastln_line_after(memory);
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
