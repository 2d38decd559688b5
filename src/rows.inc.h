/* rows.inc.h: rows whose values lie side by side. In groups: their folds are interleaved, and the last one is still in
 * cache when the first is written. */

/* `n` values of one row, where weight, bias and y are `i` values further on. */
INLINE VEC N(apply)(const char *x, const REAL *weight, const REAL *bias, ptrdiff_t i, int n, VEC minus, VEC rstd,
                    VEC shift, int affine, int centred, const VEC *scale) {
    VEC w = rstd, b = rstd;
    if (affine & WEIGHT) w = n == LANES ? V(load)(weight + i) : V(load_n)(weight + i, n);
    if (affine & BIAS) b = n == LANES ? V(load)(bias + i) : V(load_n)(bias + i, n);
    return N(transform)(N(fetch)(x + i * SIZE, n, scale), minus, rstd, shift, w, b, affine, centred);
}

/* `count` values of one row, of which weight and bias begin at `first`. FROM_MEMORY: while they are written, what lies
 * `ahead` bytes further on is fetched, the rows whose statistics come next; and a little of y, `y_ahead` bytes on, which
 * would not be there when its turn comes. */
INLINE void N(apply_row)(const fastln_task *task, const char *x, char *y, ptrdiff_t first, ptrdiff_t count,
                         const N(scales) *s, int row, int affine, int centred, const VEC *scale, ptrdiff_t ahead,
                         ptrdiff_t y_ahead, int form) {
    VEC minus = V(set1)(s->minus[row]), rstd = V(set1)(s->rstd[row]), shift = V(set1)(s->shift[row]);
    const REAL *weight = affine & WEIGHT ? (const REAL *)task->weight + first : NULL;
    const REAL *bias = affine & BIAS ? (const REAL *)task->bias + first : NULL;
    ELEMENT *out = (ELEMENT *)y;
    ptrdiff_t i = 0;
#define APPLY(i, n) N(apply)(x, weight, bias, i, n, minus, rstd, shift, affine, centred, scale)
    ptrdiff_t head = (ptrdiff_t)(-(uintptr_t)y % (LANES * SIZE)) / SIZE;
    /* At both ends two vectors overlap. They are read before one is written, since y may be x. */
    if (head && count >= 3 * LANES) { /* to where y is aligned */
        VEC begin = APPLY(0, LANES), next = APPLY(head, LANES);
        E(store)(out, begin);
        E(store)(out + head, next);
        i = head + LANES;
    }
    if (form == IN_CACHE) {
        UNROLL4 for (; i + 2 * LANES <= count; i += LANES) E(store)(out + i, APPLY(i, LANES));
    } else
        for (; i + 2 * LANES <= count; i += LANES) {
            PREFETCH(x, i * SIZE + ahead);
            PREFETCH(y, i * SIZE + y_ahead);
            E(store)(out + i, APPLY(i, LANES));
        }
    if (count >= LANES) {
        VEC last = APPLY(i, LANES), end = APPLY(count - LANES, LANES);
        PREFETCH(x, i * SIZE + ahead);
        E(store)(out + i, last);
        E(store)(out + count - LANES, end);
    } else {
        E(store_n)(out, APPLY(0, (int)count), (int)count);
    }
#undef APPLY
}

/* The same for a few rows, on the hot path. */
INLINE void N(apply_rows)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                          const N(scales) *s, int centred, ptrdiff_t ahead, ptrdiff_t y_ahead, int form) {
    const char *x = rows->x;
    char *y = rows->y;
    int n = (int)rows->count;
#define DO(affine)                                                                                                \
    for (int j = 0; j < n; j++)                                                                                   \
    N(apply_row)(task, x + j * rows->x_stride, y + j * rows->y_stride, first, count, s, j, affine, centred, NULL, \
                 ahead, y_ahead, form)
    FOR_AFFINE(task)
#undef DO
}

#include "stream.inc.h"

static NOINLINE double N(do_largest)(const char *x, ptrdiff_t count) {
    ptrdiff_t full = count / LANES, tail = count % LANES;
    VEC top = N(largest)(V(set1)(0), x, LANES * SIZE, full, LANES);
    if (tail) top = N(largest)(top, x + full * LANES * SIZE, 0, 1, (int)tail);
    REAL tops[LANES];
    V(store)(tops, top);
    for (int lane = 1; lane < LANES; lane++)
        if (!(tops[lane] <= tops[0])) tops[0] = tops[lane] + 0 * tops[0]; /* a NaN stays */
    return tops[0];
}

static NOINLINE void N(apply_cold)(const fastln_task *task, const fastln_scale *scale, const char *x, char *y,
                                   ptrdiff_t first, ptrdiff_t count, const N(scales) *s, int centred) {
    VEC k = V(set1)((REAL)scale->k);
    if (scale->k == scale->k)
        N(apply_row)(task, x, y, first, count, s, 0, N(affine)(task), centred, &k, 0, 0, FROM_MEMORY);
    else
        N(write_nan)(y, SIZE, count);
}

/* A row whose sums overflow or underflow, or that has an Inf or NaN: the same again, scaled by a power of two. */
static NOINLINE void N(cold_row)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t i, int centred) {
    const char *x = rows->x + i * rows->x_stride;
    fastln_scale scale = {.cold = 1, .k = N(power)(N(do_largest)(x, task->length), task->eps)};
    VEC k = V(set1)((REAL)scale.k);
    N(plan) plan = N(plan_of)(task, scale.k);
    N(scales) s;
    N(row_moments)(plan, x, 0, 1, centred, 0, &k, &s);
    N(give_cold_stats)(task, rows, i, 1, &scale.k, &s);
    N(apply_cold)(task, &scale, x, rows->y + i * rows->y_stride, 0, task->length, &s, centred);
}

/* A group with rows for the cold path. */
static NOINLINE void N(apply_mixed)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int count,
                                    const N(scales) *s, int centred) {
    for (int j = 0; j < count; j++) {
        const char *x = rows->x + (first + j) * rows->x_stride;
        char *y = rows->y + (first + j) * rows->y_stride;
        if (N(is_fine)(s, j))
            N(apply_row)(task, x, y, 0, task->length, s, j, N(affine)(task), centred, NULL, 0, 0, FROM_MEMORY);
        else
            N(cold_row)(task, rows, first + j, centred);
    }
}

/* Four rows of `full` vectors and maybe a tail, from number `row` on, of a group whose scales are known. */
INLINE void N(write_four)(const fastln_rows *rows, const char *x, char *y, const N(scales) *s, int row, const VEC *w,
                          const VEC *b, int full, int tail, ptrdiff_t ahead, int centred) {
    VEC part[4]; /* of rows shorter than a vector: a read that follows a masked store has to wait for it */
    ptrdiff_t end = (full - 1) * LANES + tail; /* where the last vector begins, which may overlap */
#define APPLY(v, at, n) \
    N(transform)(N(fetch)(x + (at) * SIZE, n, NULL), minus, rstd, shift, w[v], b[v], WEIGHT | BIAS, centred)
    UNROLL4 for (int r = 0; r < 4; r++, x += rows->x_stride, y += rows->y_stride) {
        VEC minus = V(set1)(s->minus[row + r]), rstd = V(set1)(s->rstd[row + r]), shift = V(set1)(s->shift[row + r]);
        if (!full) part[r] = APPLY(0, 0, tail);
        UNROLL4 for (int v = 0; v < full; v++) {
            VEC t = APPLY(v, v * LANES, LANES);
            PREFETCH(x, v * LANES * SIZE + ahead);
            if (v == full - 1 && tail) part[0] = APPLY(full, end, LANES);
            E(store)((ELEMENT *)y + v * LANES, t);
        }
        if (full && tail) E(store)((ELEMENT *)y + end, part[0]);
    }
#undef APPLY
    for (int r = 0; r < 4 && !full; r++) E(store_n)((ELEMENT *)(y - (4 - r) * rows->y_stride), part[r], tail);
}

/* Groups of LANES rows of `full` vectors and maybe a tail; in_registers: full is a constant, and four rows stay there. All
 * affine forms are one: a weight of 1 and a bias of -0 change nothing. */
INLINE void N(short_rows)(const fastln_task *task, const fastln_rows *rows, int full, int in_registers, int centred) {
    N(plan) plan = N(plan_of)(task, 1);
    N(scales) s;
    REAL sums[LANES], squares[LANES];
    VEC w[SHORT_ROW + 1], b[SHORT_ROW + 1];
    int tail = plan.tail, n = full ? LANES : tail;
    int apart = (full && tail) || rows->y_stride != task->length * SIZE;
    plan.full = full;
    for (int v = 0; v <= full; v++) {
        ptrdiff_t at = v < full ? v * LANES : full ? task->length - LANES : 0;
        w[v] = task->weight ? V(load_n)((const REAL *)task->weight + at, n) : V(set1)(1);
        b[v] = task->bias ? V(load_n)((const REAL *)task->bias + at, n) : V(set1)((REAL)-0.0);
    }
    for (ptrdiff_t i = 0; i + LANES <= rows->count; i += LANES) {
        const char *x = rows->x + i * rows->x_stride;
        char *y = rows->y + i * rows->y_stride;
        for (int j = 0; j < LANES; j += 4) {
            UNROLL4 for (int r = 0; r < 4; r++) { /* memory has nothing else to do while x is measured */
                const char *to = y + (j + r) * rows->y_stride;
                for (int v = 0; v < full; v++)
                    if (v * LANES * SIZE % FASTLN_LINE == 0) PREFETCH(to, v * LANES * SIZE);
                if (apart || r == 3) PREFETCH(to, task->length * SIZE - 1);
            }
            N(four_rows)(plan, x + j * rows->x_stride, rows->x_stride, 4, centred, in_registers, NULL, s.p + j,
                         sums + j, squares + j);
        }
        int fine = N(finish_rows)(plan, LANES, sums, squares, &s);
        N(give_stats)(task, rows, i, LANES, &s);
        if (!fine) {
            N(apply_mixed)(task, rows, i, LANES, &s, centred);
            continue;
        }
        ptrdiff_t ahead = i + 4 * LANES <= rows->count ? 2 * LANES * rows->x_stride : 0;
        for (int j = 0; j < LANES; j += 4, x += 4 * rows->x_stride, y += 4 * rows->y_stride)
            N(write_four)(rows, x, y, &s, j, w, b, full, tail, ahead, centred);
    }
}

/* Does what rows it can in this way; returns how many. */
static NOINLINE ptrdiff_t N(do_short_rows)(const fastln_task *task, const fastln_rows *rows, int centred) {
#define SHORT_ROWS(full, in_registers)                    \
    if (centred)                                          \
        N(short_rows)(task, rows, full, in_registers, 1); \
    else                                                  \
        N(short_rows)(task, rows, full, in_registers, 0);
    ptrdiff_t full = task->length / LANES;
    if (full > SHORT_ROW) return 0;
    switch (full) {
    case 0: SHORT_ROWS(0, 1) break;
    case 1: SHORT_ROWS(1, 1) break;
    case 2: SHORT_ROWS(2, 1) break;
    case 3: SHORT_ROWS(3, 1) break;
    case 4: SHORT_ROWS(4, 1) break;
    default: SHORT_ROWS((int)full, 0)
    }
#undef SHORT_ROWS
    return rows->count - rows->count % LANES;
}

INLINE void N(do_rows)(const fastln_task *task, const fastln_rows *rows, int centred) {
    ptrdiff_t row = task->length * SIZE, size = N(array_size)(task);
    int stream = N(is_streamed)(task), near = size <= NEAR;
    int fetch = size > FETCHED && row <= (stream ? FETCHED_STREAMED_ROW : FETCHED_ROW);
    ptrdiff_t group = row <= GROUPED_ROW / 4 ? 8 : row <= GROUPED_ROW ? 4 : 1;
    /* Streamed, y takes no room; and x comes back from L2 soon enough. */
    if (stream) group = row <= GROUPED_ROW ? LANES : row <= 4 * GROUPED_ROW ? 4 : 1;
    N(plan) plan = N(plan_of)(task, 1);
    N(scales) s;
    for (ptrdiff_t i = N(do_short_rows)(task, rows, centred); i < rows->count; i += group) {
        fastln_rows some = *rows; /* a group of them */
        some.x += i * rows->x_stride;
        some.y += i * rows->y_stride;
        some.count = rows->count - i < group ? rows->count - i : group;
        int n = (int)some.count;
        int fine = N(row_moments)(plan, some.x, some.x_stride, n, centred, 0, NULL, &s);
        N(give_stats)(task, rows, i, n, &s);
        if (!fine) {
            N(apply_mixed)(task, rows, i, n, &s, centred);
            continue;
        }
        /* Past the last row there may be no memory, and to find that out costs more than a miss. */
        int more = i + 2 * group <= rows->count;
        ptrdiff_t ahead = more && fetch ? group * rows->x_stride : 0, y_ahead = more || row > FETCHED_ROW ? Y_AHEAD : 0;
        if (stream)
            N(stream_rows)(task, &some, 0, task->length, &s, centred, ahead);
        else if (near)
            N(apply_rows)(task, &some, 0, task->length, &s, centred, 0, 0, IN_CACHE);
        else
            N(apply_rows)(task, &some, 0, task->length, &s, centred, ahead, y_ahead, FROM_MEMORY);
    }
}
