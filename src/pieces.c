/* pieces.c: rows in pieces that threads may share. The arithmetic is that of a whole row: a piece is a subtree of its
 * blocks. For long rows, and for scattered ones where that saves a copy:
 *
 *   measure   reads a dense x where it is. Anything else is copied to where its values lie side by side: to y, if that
 *             is dense, or else to a window in cache.
 *   write     needs no order, so it takes that of y in memory, if neither is dense and they have their innermost axis
 *             in common, and goes through the window; or directly along lines of values that lie side by side in both.
 *             A few rows keep to their own order if weight and bias would have to be put in another, and a window holds
 *             long parts of memory's lines.
 *
 * Scattered rows that lie near each other go together, up to 16 of them, and share the window: memory is then read and
 * written in its order. */
#include "pieces.h"

#include <stdlib.h>
#include <string.h>

#include "scattered.h"
#include "strided.h"
#include "walk.h"

enum {
    WINDOW_SIZE = FASTLN_WINDOW + FASTLN_TOGETHER * FASTLN_LINE,
    SHORT_LINE = 64, /* values; along shorter lines the kernel is not worth its call */
    SMALLEST = 64,   /* vectors in a piece: those of a block; rows of no more have no pieces */
    LONG_PART = 256, /* bytes of a line in memory */
    ENOUGH_ROWS = 8, /* to put all of weight and bias in their order for */
};

typedef struct order { /* in which the values of a row are walked over */
    fastln_task task;  /* with the axes of a row in that order */
    int dense_x, dense_y;
} order;

typedef struct plan {
    const fastln_task *task;
    const fastln_kernel *kernel;
    ptrdiff_t rows, together;       /* in all, and worked on at once */
    ptrdiff_t lanes, vectors, tail; /* in a row: lanes of a vector, vectors, values after them */
    ptrdiff_t leaf, count;          /* vectors in a piece, pieces in a row */
    ptrdiff_t part, parts;          /* values written at a time, and how often that is */
    order measured, written;
    ptrdiff_t line;       /* values that lie side by side in x and y, in the order of writing; 0 if they are few */
    fastln_task vector;   /* a weight or bias as rows of a task, to be gathered in that order */
    int reordered;        /* whether that is done at all, once, or */
    int by_piece;         /* for each piece, into a second window */
    int own;              /* whether each thread has rows of its own */
    char *windows;        /* of each thread, */
    fastln_piece *pieces; /* and what is found of the rows at work on: a thread's own, or all threads' */
} plan;

typedef struct group { /* the rows at work on */
    const plan *plan;
    fastln_rows rows;
    fastln_scale scales[FASTLN_TOGETHER];
    int known[FASTLN_TOGETHER]; /* which have their scale; the others are measured */
    fastln_piece *pieces;       /* `count` for each row */
    int thread, threads;        /* the thread whose memory is used, unless several share the rows */
    int copied;                 /* x is in y already */
} group;

static void find_dense(order *in) { in->dense_x = fastln_dense_x(&in->task), in->dense_y = fastln_dense_y(&in->task); }

static ptrdiff_t window_size(const plan *p) { return WINDOW_SIZE * (p->by_piece ? 2 : 1); }

static char *window_of(const group *g, int thread) {
    return g->plan->windows + (g->threads > 1 ? thread : g->thread) * window_size(g->plan);
}

/* Values [first, first + count) of the rows, where a kernel can read them and write them. */
static fastln_rows read_part(const group *g, const order *in, ptrdiff_t first, ptrdiff_t count, int thread) {
    fastln_rows part = g->rows;
    fastln_runs runs = {.first = g->rows, .count = 1};
    part.x += first * fastln_item_size(&in->task);
    part.y += first * fastln_item_size(&in->task);
    if (!in->dense_y) part.y = window_of(g, thread), part.stride.y = fastln_window_stride(&in->task, count);
    if (!in->dense_x) {
        part.x = part.y, part.stride.x = part.stride.y;
        if (!g->copied) fastln_gather(&in->task, &runs, first, count, part.y, part.stride.y);
    }
    return part;
}

static void measure_piece(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t first = i * p->leaf, vectors = fastln_least(p->leaf, p->vectors - first);
    if (vectors == 0) return; /* the last piece may be the tail alone */
    fastln_rows part = read_part(g, &p->measured, first * p->lanes, vectors * p->lanes, thread);
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!g->known[r])
            p->kernel->piece(part.x + r * part.stride.x, vectors, g->scales + r, g->pieces + r * p->count + i);
}

/* What the rows without a scale are measured around. The threads have no work yet, so the window is that of the
 * first. */
static void find_near(group *g) {
    const plan *p = g->plan;
    char samples[FASTLN_TOGETHER][8 * FASTLN_VECTOR];
    ptrdiff_t size = p->lanes * fastln_item_size(p->task);
    for (int i = 0; i < 8; i++) {
        fastln_rows part = read_part(g, &p->measured, fastln_sampled(p->vectors, i, 8) * p->lanes, p->lanes, 0);
        for (ptrdiff_t r = 0; r < part.count; r++) memcpy(samples[r] + i * size, part.x + r * part.stride.x, size);
    }
    for (ptrdiff_t r = 0; r < g->rows.count; r++)
        if (!g->known[r]) p->kernel->near(samples[r], g->scales + r);
}

/* Leaves what it finds in the first of the piece's numbers. */
static void find_largest(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t piece = p->leaf * p->lanes, first = i * piece, count = fastln_least(piece, p->task->length - first);
    fastln_rows part = read_part(g, &p->measured, first, count, thread);
    for (ptrdiff_t r = 0; r < part.count; r++)
        if (!g->known[r]) g->pieces[r * p->count + i].lanes[0] = p->kernel->largest(part.x + r * part.stride.x, count);
}

/* Values [first, first + count) of a weight or bias in the order of `written`. */
static const void *reorder(const plan *p, const void *vector, ptrdiff_t first, ptrdiff_t count, char *to) {
    fastln_runs runs = {.first = {.x = vector, .count = 1}, .count = 1};
    if (vector) fastln_gather(&p->vector, &runs, first, count, to, 0);
    return vector ? to : NULL;
}

/* The values between two places of the rows, in their order in memory. */
static void write_lines(const group *g, fastln_rows rows, ptrdiff_t vector_first, ptrdiff_t first, ptrdiff_t end) {
    const fastln_task *task = &g->plan->written.task;
    ptrdiff_t line = g->plan->line;
    while (first < end) {
        ptrdiff_t n = fastln_least(line - first % line, end - first), left = first, x = 0, y = 0;
        for (int axis = task->row_ndim - 1; axis >= 0; axis--) {
            ptrdiff_t index = axis > 0 ? left % task->row_shape[axis] : left;
            left = axis > 0 ? left / task->row_shape[axis] : 0;
            x += index * task->row_x_strides[axis];
            y += index * task->row_y_strides[axis];
        }
        for (ptrdiff_t r = 0; r < rows.count; r++) {
            fastln_rows row = fastln_rows_at(rows, r, rows.stride);
            row.x += x, row.y += y;
            g->plan->kernel->apply(task, g->scales + r, &row, first - vector_first, n);
        }
        first += n;
    }
}

static void write_part(void *context, ptrdiff_t i, int thread) {
    const group *g = context;
    const plan *p = g->plan;
    ptrdiff_t first = i * p->part, count = fastln_least(p->part, p->task->length - first), vector_first = 0;
    const fastln_task *task = &p->written.task;
    fastln_rows rows = g->rows;
    if (p->by_piece) {
        char *window = window_of(g, thread) + WINDOW_SIZE;
        rows.weight = reorder(p, p->task->weight, first, count, window);
        rows.bias = reorder(p, p->task->bias, first, count, window + FASTLN_WINDOW / 2);
        vector_first = first;
    } else if (p->reordered) {
        rows.weight = task->weight, rows.bias = task->bias;
    }
    if (p->line) {
        write_lines(g, rows, vector_first, first, first + count);
        return;
    }
    fastln_rows part = read_part(g, &p->written, first, count, thread);
    fastln_runs runs = {.first = g->rows, .count = 1};
    part.weight = rows.weight, part.bias = rows.bias;
    for (ptrdiff_t r = 0; r < part.count; r++) {
        fastln_rows row = fastln_rows_at(part, r, part.stride);
        p->kernel->apply(task, g->scales + r, &row, first - vector_first, count);
    }
    if (!p->written.dense_y) fastln_scatter(task, &runs, first, count, part.y, part.stride.y);
}

/* Finds the scales that are not known yet, once. Returns whether all are now. */
static int measure_once(group *g) {
    const plan *p = g->plan;
    int all = 1;
    if (p->kernel->piece) fastln_parallel_for(p->count, g->threads, measure_piece, g);
    fastln_rows tails = read_part(g, &p->measured, p->vectors * p->lanes, p->tail, 0);
    for (ptrdiff_t r = 0; r < g->rows.count; r++) {
        fastln_rows row = fastln_rows_at(g->rows, r, g->rows.stride);
        if (!g->known[r])
            g->known[r] = p->kernel->combine(p->task, &row, tails.x + r * tails.stride.x, g->pieces + r * p->count,
                                             p->leaf, g->scales + r);
        all &= g->known[r];
    }
    g->copied = p->kernel->piece && p->measured.dense_y;
    return all;
}

/* The same, and again around the mean for those rows whose sample was far from it. */
static int measure(group *g) {
    if (g->plan->kernel->piece) find_near(g);
    if (measure_once(g)) return 1;
    int again = 0;
    for (ptrdiff_t r = 0; r < g->rows.count; r++) again |= !g->known[r] && g->scales[r].again;
    return again && measure_once(g);
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
    g.pieces = p->pieces + thread * p->together * p->count;
    for (int r = 0; r < FASTLN_TOGETHER; r++) {
        g.known[r] = 0;
        g.scales[r] = (fastln_scale){.cold = 0, .k = 1};
    }
    if (!measure(&g)) measure_cold(&g);
    if (p->task->y) fastln_parallel_for(p->parts, threads, write_part, &g);
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

/* The axes of a row in the order of y's memory, outermost first, each with its stride of `from`. Returns how many. */
static int sort_row(const fastln_task *task, const ptrdiff_t *from, fastln_axis *axes) {
    for (int i = 0; i < task->row_ndim; i++)
        axes[i] = (fastln_axis){task->row_shape[i], task->row_y_strides[i], from[i]};
    return fastln_sort_axes(axes, task->row_ndim);
}

static void set_row(fastln_task *task, const fastln_axis *axes, int ndim) {
    task->row_ndim = ndim;
    for (int i = 0; i < ndim; i++) {
        task->row_shape[i] = axes[i].n;
        task->row_x_strides[i] = axes[i].from;
        task->row_y_strides[i] = axes[i].to;
    }
}

static int is_aligned(const fastln_task *task) {
    uintptr_t offsets = (uintptr_t)task->x | (uintptr_t)task->y;
    for (int axis = 0; axis < task->ndim; axis++)
        offsets |= (uintptr_t)task->strides[axis].x | (uintptr_t)task->strides[axis].y;
    for (int axis = 0; axis < task->row_ndim; axis++)
        offsets |= (uintptr_t)task->row_x_strides[axis] | (uintptr_t)task->row_y_strides[axis];
    return offsets % (uintptr_t)fastln_item_size(task) == 0;
}

/* Whether weight and bias are such that they cannot simply be put in another order: repeated along a row, or several.
 */
static int has_parts(const fastln_task *task) {
    int several = 0;
    for (int axis = 0; axis < task->ndim; axis++) several |= task->strides[axis].weight || task->strides[axis].bias;
    return task->part != 0 || (task->form == FASTLN_EACH && several);
}

/* Puts the axes of a row in the order of y in memory, unless y is dense: if x and y have lines in common, `line` values
 * that lie side by side in both, or else, `line` being 0, if at least the same axis is innermost and x is not dense.
 * Returns whether it did. */
static int find_order(const fastln_task *task, fastln_task *written, ptrdiff_t *line) {
    ptrdiff_t size = fastln_item_size(task);
    fastln_axis axes[FASTLN_MAX_AXES];
    *written = *task;
    written->x_step = written->y_step = *line = 0;
    if (task->layout != FASTLN_SCATTERED || !task->y || fastln_dense_y(task) || has_parts(task)) return 0;
    int ndim = fastln_merge_axes(axes, sort_row(task, task->row_x_strides, axes));
    if (ndim == 0) return 0;
    fastln_axis last = axes[ndim - 1];
    if (last.to == size && last.from == size && last.n >= SHORT_LINE && is_aligned(task)) {
        *line = last.n;
        if (ndim > 1) written->x_step = axes[ndim - 2].from, written->y_step = axes[ndim - 2].to;
    } else {
        if (fastln_dense_x(task)) return 0;
        for (int i = 0; i < ndim; i++)
            if (fastln_magnitude(axes[i].from) < fastln_magnitude(last.from)) return 0;
    }
    set_row(written, axes, ndim);
    return 1;
}

/* weight and bias as x of a task, their axes in that order, too. Returns whether it is another than theirs. */
static int find_vector(const fastln_task *task, fastln_task *vector) {
    ptrdiff_t strides[FASTLN_MAX_AXES], next = fastln_compute_size(task);
    fastln_axis axes[FASTLN_MAX_AXES];
    int moved = 0;
    for (int axis = task->row_ndim - 1; axis >= 0; axis--) {
        strides[axis] = next;
        next *= task->row_shape[axis];
    }
    int ndim = sort_row(task, strides, axes);
    for (int i = 1; i < ndim; i++) moved |= axes[i].from > axes[i - 1].from;
    *vector = (fastln_task){.dtype = task->dtype == FASTLN_f64 ? FASTLN_f64 : FASTLN_f32};
    set_row(vector, axes, ndim);
    return moved && task->form == FASTLN_EACH && (task->weight || task->bias);
}

int fastln_prefers_pieces(const fastln_task *task, ptrdiff_t rows, int threads) {
    fastln_task written, vector;
    ptrdiff_t line, window = rows < threads         ? FASTLN_WINDOW
                             : fastln_dense_y(task) ? FASTLN_LARGE_WINDOW
                                                    : FASTLN_LARGEST_WINDOW;
    if (fastln_neighbours(task) * fastln_window_stride(task, task->length) > window) return 1;
    if (task->length * fastln_compute_size(task) < (SMALLEST + 1) * FASTLN_VECTOR) return 0;
    if (!find_order(task, &written, &line) || !line) return 0;
    return rows >= ENOUGH_ROWS || !find_vector(task, &vector);
}

/* At most `most` values: as many lines of the last axis as fill cache lines of the one before, if there is room for
 * them. */
static ptrdiff_t whole_lines(const fastln_task *task, ptrdiff_t most) {
    if (task->layout != FASTLN_SCATTERED) return most;
    ptrdiff_t lines = FASTLN_LINE / fastln_item_size(task) * task->row_shape[task->row_ndim - 1];
    return lines <= most ? most / lines * lines : most;
}

/* Whether a window's worth of a row, in its own order, has several cache lines of every line in memory. */
static int has_long_parts(const fastln_task *task, ptrdiff_t together) {
    ptrdiff_t window = FASTLN_WINDOW / together / fastln_compute_size(task), last = task->row_shape[task->row_ndim - 1];
    return last * LONG_PART / fastln_item_size(task) <= window;
}

static void run_groups(plan *p, int threads) {
    if (p->own) {
        fastln_parallel_for(fastln_divide_up(p->rows, p->together), threads, do_own_group, p);
        return;
    }
    fastln_walk walk;
    fastln_walk_from(&walk, p->task, 0);
    for (ptrdiff_t done = 0; done < p->rows;) {
        fastln_rows some = fastln_walk_on(&walk, p->together);
        do_group(p, some, 0, threads);
        done += some.count;
    }
}

int fastln_run_pieces(const fastln_task *task, const fastln_kernel *kernel, ptrdiff_t rows, int threads) {
    plan p = {.task = task, .kernel = kernel, .rows = rows, .together = fastln_neighbours(task)};
    ptrdiff_t vector_size = task->length * fastln_compute_size(task);
    p.reordered = find_order(task, &p.written.task, &p.line) && find_vector(task, &p.vector);
    p.by_piece = p.reordered && rows < ENOUGH_ROWS;
    if (p.by_piece && has_long_parts(task, p.together)) { /* then weight and bias may stay as they are */
        p.line = p.by_piece = p.reordered = 0;
        p.written.task = *task;
        p.written.task.x_step = p.written.task.y_step = 0;
    }
    p.measured.task = *task;
    find_dense(&p.measured);
    find_dense(&p.written);
    p.lanes = FASTLN_VECTOR / fastln_compute_size(task);
    p.vectors = task->length / p.lanes;
    p.tail = task->length % p.lanes;
    p.leaf = FASTLN_WINDOW / FASTLN_VECTOR / p.together / (p.by_piece ? 2 : 1);
    while (p.vectors >= FASTLN_SHARED_ROW && p.leaf > SMALLEST && p.vectors < 4 * threads * p.leaf) p.leaf /= 2;
    p.count = fastln_divide_up(task->length, p.leaf * p.lanes);
    p.part = p.line ? p.leaf * p.lanes : whole_lines(&p.written.task, p.leaf * p.lanes);
    p.parts = fastln_divide_up(task->length, p.part);
    p.own = threads > 1 && (fastln_divide_up(rows, p.together) >= 4 * threads || p.vectors < FASTLN_SHARED_ROW);
    ptrdiff_t windows_size = threads * window_size(&p);
    ptrdiff_t pieces_size = (p.own ? threads : 1) * p.together * p.count * (ptrdiff_t)sizeof(fastln_piece);
    ptrdiff_t vectors_size = p.reordered && !p.by_piece ? 2 * vector_size : 0;
    void *memory = malloc((size_t)(windows_size + pieces_size + vectors_size + FASTLN_LINE));
    if (!memory) return -1;
    p.windows = fastln_line_after(memory);
    p.pieces = (fastln_piece *)(p.windows + windows_size);
    if (vectors_size) {
        char *vectors = p.windows + windows_size + pieces_size;
        p.written.task.weight = reorder(&p, task->weight, 0, task->length, vectors);
        p.written.task.bias = reorder(&p, task->bias, 0, task->length, vectors + vector_size);
    }
    run_groups(&p, threads);
    free(memory);
    return 0;
}
