/* rows.inc.h: rows whose values lie side by side. In groups: their folds are interleaved, and the last one is still in
 * cache when the first is written. */

/* `n` values of one row, where weight, bias and y are `i` values further on; or all have w and b. */
INLINE VEC N(apply)(const char *x, const REAL *weight, const REAL *bias, ptrdiff_t i, int n, VEC minus, VEC rstd,
                    VEC shift, VEC w, VEC b, int affine, int centred, const VEC *scale) {
    if (affine & WEIGHT) w = n == LANES ? V(load)(weight + i) : V(load_n)(weight + i, n);
    if (affine & BIAS) b = n == LANES ? V(load)(bias + i) : V(load_n)(bias + i, n);
    return N(transform)(N(fetch)(x + i * SIZE, n, scale), minus, rstd, shift, w, b, affine, centred);
}

/* `count` values of one row, with their weight and bias. FROM_MEMORY: while they are written, what lies `ahead` bytes
 * further on is fetched, the rows whose statistics come next; and a little of y, `y_ahead` bytes on, which would not be
 * there when its turn comes. */
INLINE void N(apply_row)(const char *x, char *y, const char *weights, const char *biases, ptrdiff_t count,
                         const N(scales) *s, int row, int affine, int centred, const VEC *scale, ptrdiff_t ahead,
                         ptrdiff_t y_ahead, int form) {
    VEC minus = V(set1)(s->minus[row]), rstd = V(set1)(s->rstd[row]), shift = V(set1)(s->shift[row]);
    VEC w = affine & SPREAD ? V(set1)(N(weight_at)(weights)) : rstd;
    VEC b = affine & SPREAD ? V(set1)(N(bias_at)(biases)) : rstd;
    const REAL *weight = (const REAL *)weights, *bias = (const REAL *)biases;
    ELEMENT *out = (ELEMENT *)y;
    ptrdiff_t i = 0;
#define APPLY(i, n) N(apply)(x, weight, bias, i, n, minus, rstd, shift, w, b, affine, centred, scale)
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

/* The same for values [first, first + count) of a few rows, on the hot path. */
INLINE void N(apply_rows)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                          const N(scales) *s, int centred, ptrdiff_t ahead, ptrdiff_t y_ahead, int form) {
    int n = (int)rows->count;
    ptrdiff_t at = first * (ptrdiff_t)sizeof(REAL);
#define DO(affine)                                                                                               \
    for (int j = 0; j < n; j++)                                                                                  \
    N(apply_row)(rows->x + j * rows->stride.x, rows->y + j * rows->stride.y,                                     \
                 fastln_from(rows->weight, at + j * rows->stride.weight),                                        \
                 fastln_from(rows->bias, at + j * rows->stride.bias), count, s, j, affine, centred, NULL, ahead, \
                 y_ahead, form)
    FOR_AFFINE(task)
#undef DO
}

INLINE int N(has_parts)(const fastln_task *task) { return task->part || task->form != FASTLN_EACH; }

/* `count` values of a part of a row; scale: NULL but on the cold path. */
INLINE void N(apply_part)(const fastln_task *task, const fastln_rows *part, ptrdiff_t count, const N(scales) *s,
                          int row, int centred, const VEC *scale, ptrdiff_t ahead, ptrdiff_t y_ahead) {
#define DO(affine)                                                                                                  \
    N(apply_row)(part->x, part->y, part->weight, part->bias, count, s, row, affine, centred, scale, ahead, y_ahead, \
                 FROM_MEMORY)
    if (task->form == FASTLN_EACH)
        DO(N(affine)(task));
    else
        FOR_SPREAD(task)
#undef DO
}

/* A few rows in their parts, with whatever weights and biases these have. */
static NOINLINE void N(apply_parts)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                                    const N(scales) *s, int centred, const VEC *scale, ptrdiff_t ahead) {
    ptrdiff_t part = task->part ? task->part : task->length, each = task->form == FASTLN_EACH;
    ptrdiff_t y_ahead = N(array_size)(task) > CACHED ? Y_AHEAD : 0;
    for (int j = 0; j < (int)rows->count; j++) {
        fastln_rows some = fastln_rows_at(*rows, j, rows->stride);
        ptrdiff_t number = first / part, within = first % part, left = count;
        while (left > 0) {
            fastln_steps at = {.weight = (number * task->part_step + each * within) * (ptrdiff_t)sizeof(REAL)};
            ptrdiff_t n = fastln_least(part - within, left);
            at.bias = at.weight;
            fastln_rows here = fastln_rows_at(some, 1, at);
            if (centred && !scale)
                N(apply_part)(task, &here, n, s, j, 1, NULL, ahead, y_ahead);
            else
                N(apply_part)(task, &here, n, s, j, centred, scale, 0, 0);
            some.x += n * SIZE, some.y += n * SIZE, left -= n;
            number++, within = 0;
        }
    }
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

static NOINLINE void N(apply_cold)(const fastln_task *task, const fastln_scale *scale, const fastln_rows *row,
                                   ptrdiff_t first, ptrdiff_t count, const N(scales) *s, int centred) {
    VEC k = V(set1)((REAL)scale->k);
    if (scale->k == scale->k)
        N(apply_parts)(task, row, first, count, s, centred, &k, 0);
    else
        N(write_nan)(row->y, SIZE, count);
}

/* A row whose sums overflow or underflow, or that has an Inf or NaN: the same again, scaled by a power of two. */
static NOINLINE void N(cold_row)(const fastln_task *task, fastln_rows row, int centred) {
    fastln_scale scale = {.cold = 1, .k = N(power)(N(do_largest)(row.x, task->length), task->eps)};
    VEC k = V(set1)((REAL)scale.k);
    N(plan) plan = N(plan_of)(task, scale.k);
    N(scales) s;
    row.count = 1;
    N(rows_near)(plan, row.x, 0, 1, centred, &k, s.minus);
    N(row_moments)(plan, row.x, 0, 1, centred, &k, &s);
    N(give_cold_stats)(task, &row, 0, 1, &scale.k, &s);
    if (task->y) N(apply_cold)(task, &scale, &row, 0, task->length, &s, centred);
}

/* A group with rows for the cold path. */
static NOINLINE void N(apply_mixed)(const fastln_task *task, const fastln_rows *rows, int first, int count,
                                    const N(scales) *s, int centred) {
    for (int i = 0; i < count; i++) {
        fastln_rows row = fastln_rows_at(*rows, i, rows->stride);
        int j = first + i; /* its number in s */
        if (!N(is_fine)(s, j)) {
            N(cold_row)(task, row, centred);
        } else if (task->y) {
            N(scales) own;
            own.minus[0] = s->minus[j], own.rstd[0] = s->rstd[j], own.shift[0] = s->shift[j];
            row.count = 1;
            N(apply_parts)(task, &row, 0, task->length, &own, centred, NULL, 0);
        }
    }
}

/* Four rows of `full` vectors and maybe a tail, from number `row` on, of a group whose scales are known; FROM_MEMORY:
 * what lies `ahead` bytes further on is fetched. */
INLINE void N(write_four)(const fastln_rows *rows, const char *x, char *y, const N(scales) *s, int row, const VEC *w,
                          const VEC *b, int full, int tail, ptrdiff_t ahead, int form, int centred) {
    VEC part[4]; /* of rows shorter than a vector: a read that follows a masked store has to wait for it */
    ptrdiff_t end = (full - 1) * LANES + tail; /* where the last vector begins, which may overlap */
#define APPLY(v, at, n) \
    N(transform)(N(fetch)(x + (at) * SIZE, n, NULL), minus, rstd, shift, w[v], b[v], WEIGHT | BIAS, centred)
    UNROLL4 for (int r = 0; r < 4; r++, x += rows->stride.x, y += rows->stride.y) {
        VEC minus = V(set1)(s->minus[row + r]), rstd = V(set1)(s->rstd[row + r]), shift = V(set1)(s->shift[row + r]);
        if (!full) part[r] = APPLY(0, 0, tail);
        UNROLL4 for (int v = 0; v < full; v++) {
            VEC t = APPLY(v, v * LANES, LANES);
            if (form == FROM_MEMORY) PREFETCH(x, v * LANES * SIZE + ahead);
            if (v == full - 1 && tail) part[0] = APPLY(full, end, LANES);
            E(store)((ELEMENT *)y + v * LANES, t);
        }
        if (full && tail) E(store)((ELEMENT *)y + end, part[0]);
    }
#undef APPLY
    for (int r = 0; r < 4 && !full; r++) E(store_n)((ELEMENT *)(y - (4 - r) * rows->stride.y), part[r], tail);
}

/* The rows of a run from number i of all on. */
INLINE fastln_rows N(rows_of)(const fastln_runs *runs, ptrdiff_t i) {
    ptrdiff_t n = runs->first.count, run = runs->count > 1 ? i / n : 0;
    fastln_rows rows = fastln_rows_at(runs->first, run, runs->distance);
    return fastln_rows_at(rows, i - run * n, rows.stride);
}

/* measure_far of LANES rows, of which each four begin at one of x. By itself, so that compilers know the plan of the
 * hot loop. */
static NOINLINE int N(measure_far_fours)(const fastln_task *task, const char *const *x, ptrdiff_t stride, const REAL *r,
                                         const REAL *q, int centred, N(scales) *s) {
    int fine = 1;
    for (int j = 0; j < LANES; j += 4)
        fine &= N(measure_far)(N(plan_of)(task, 1), x[j / 4], stride, 4, centred, NULL, r + j, q + j, j, s);
    return fine;
}

typedef struct { /* LANES short rows, of which each four begin at one of x, and of y */
    const char *x[LANES / 4];
    char *y[LANES / 4];
    N(scales) s;
    int fine;
} N(short_group);

/* Where the rows from number i on are, and what they are measured around. */
INLINE void N(find_short)(N(plan) plan, const fastln_runs *runs, ptrdiff_t i, int centred, N(short_group) *g) {
    for (int j = 0; j < LANES; j += 4) {
        fastln_rows four = N(rows_of)(runs, i + j);
        g->x[j / 4] = four.x, g->y[j / 4] = four.y;
        N(four_near)(plan, four.x, four.stride.x, 4, centred, NULL, g->s.minus + j);
    }
}

/* Fetches the lines of four rows of y: memory has nothing else to do while x is measured. */
INLINE void N(fetch_four)(const fastln_task *task, const fastln_rows *rows, const char *y, int full) {
    int apart = (full && task->length % LANES) || rows->stride.y != task->length * SIZE;
    UNROLL4 for (int r = 0; r < 4; r++, y += rows->stride.y) {
        for (int v = 0; v < full; v++)
            if (v * LANES * SIZE % FASTLN_LINE == 0) PREFETCH(y, v * LANES * SIZE);
        if (apart || r == 3) PREFETCH(y, task->length * SIZE - 1);
    }
}

/* The scales of a group, the statistics that are wanted, and whether all rows are fine. */
INLINE void N(measure_short)(const fastln_task *task, N(plan) plan, const fastln_runs *runs, ptrdiff_t i,
                             int in_registers, int fetch, int centred, N(short_group) *g) {
    ptrdiff_t stride = runs->first.stride.x;
    REAL r[LANES], q[LANES];
    for (int j = 0; j < LANES; j += 4) {
        if (fetch) N(fetch_four)(task, &runs->first, g->y[j / 4], (int)plan.full);
        N(four_sums)(plan, g->x[j / 4], stride, 4, centred, in_registers, NULL, g->s.minus + j, r + j, q + j);
    }
    g->fine = N(finish_rows)(plan, LANES, r, q, &g->s);
    if (!g->fine) g->fine = N(measure_far_fours)(task, g->x, stride, r, q, centred, &g->s);
    N(give_stats)(task, &runs->first, i, LANES, &g->s);
}

/* Groups of LANES rows of `full` vectors and maybe a tail; in_registers: full is a constant, and four rows stay there.
 * All affine forms are one: a weight of 1 and a bias of -0 change nothing. One group is written when the next one is
 * measured and what is near to the one after that is found: each has to wait for a chain of few operations, and the
 * processor then has the others to do. Returns how many rows it did. Four rows are always of one run. */
INLINE ptrdiff_t N(short_rows)(const fastln_task *task, const fastln_runs *runs, int full, int in_registers,
                               int centred) {
    N(plan) plan = N(plan_of)(task, 1);
    N(short_group) groups[3], *now = groups, *next = now + 1, *after = now + 2;
    VEC w[SHORT_ROW + 1], b[SHORT_ROW + 1];
    const fastln_rows *rows = &runs->first;
    int tail = plan.tail, n = full ? LANES : tail;
    /* Of rows in registers always, as two copies of that code would cost more. */
    int fetch = in_registers || N(array_size)(task) > SHORT_FETCHED;
    ptrdiff_t total = rows->count * runs->count / LANES * LANES;
    plan.full = full;
    if (total == 0) return 0;
    for (int v = 0; v <= full; v++) {
        ptrdiff_t at = v < full ? v * LANES : full ? task->length - LANES : 0;
        w[v] = task->weight ? V(load_n)((const REAL *)rows->weight + at, n) : V(set1)(1);
        b[v] = task->bias ? V(load_n)((const REAL *)rows->bias + at, n) : V(set1)((REAL)-0.0);
    }
    for (ptrdiff_t i = -2 * LANES; i < total; i += LANES) {
        N(short_group) *done = now;
        if (i >= -LANES && i + LANES < total)
            N(measure_short)(task, plan, runs, i + LANES, in_registers, fetch, centred, next);
        if (i + 2 * LANES < total) N(find_short)(plan, runs, i + 2 * LANES, centred, after);
        for (int j = 0; j < LANES && i >= 0 && !now->fine; j += 4) {
            fastln_rows four = N(rows_of)(runs, i + j);
            N(apply_mixed)(task, &four, j, 4, &now->s, centred);
        }
        for (int j = 0; j < LANES && i >= 0 && now->fine && task->y; j += 4) {
            ptrdiff_t far = i + j + X_AHEAD * LANES;
            ptrdiff_t ahead = i + (X_AHEAD + 2) * LANES <= total ? N(rows_of)(runs, far).x - now->x[j / 4] : 0;
            if (fetch)
                N(write_four)(rows, now->x[j / 4], now->y[j / 4], &now->s, j, w, b, full, tail, ahead, FROM_MEMORY,
                              centred);
            else
                N(write_four)(rows, now->x[j / 4], now->y[j / 4], &now->s, j, w, b, full, tail, 0, IN_CACHE, centred);
        }
        now = next, next = after, after = done;
    }
    return total;
}

/* Whether groups of rows may reach over runs: four are always of one, and the statistics go on. */
INLINE int N(are_joined)(const fastln_runs *runs) {
    const fastln_rows *rows = &runs->first;
    return runs->count == 1 ||
           (rows->count % 4 == 0 && runs->distance.weight == 0 && runs->distance.bias == 0 &&
            ((!rows->mean && !rows->rstd) || runs->distance.stat == rows->count * rows->stride.stat));
}

/* Does what rows it can in this way; returns how many. */
static NOINLINE ptrdiff_t N(do_short_rows)(const fastln_task *task, const fastln_runs *runs, int centred) {
#define SHORT_ROWS(full, in_registers)                                \
    return centred ? N(short_rows)(task, runs, full, in_registers, 1) \
                   : N(short_rows)(task, runs, full, in_registers, 0);
    switch (task->length / LANES) {
    case 0: SHORT_ROWS(0, 1)
    case 1: SHORT_ROWS(1, 1)
    case 2: SHORT_ROWS(2, 1)
    case 3: SHORT_ROWS(3, 1)
    case 4: SHORT_ROWS(4, 1)
    default: SHORT_ROWS((int)(task->length / LANES), 0)
    }
#undef SHORT_ROWS
}

INLINE int N(form_of)(const fastln_task *task) {
    if (N(has_parts)(task)) return IN_PARTS;
    return N(is_streamed)(task) ? PAST_CACHES : N(array_size)(task) <= CACHED ? IN_CACHE : FROM_MEMORY;
}

/* Writes a few rows in the form that the task has. */
INLINE void N(write_rows)(const fastln_task *task, const fastln_rows *rows, const N(scales) *s, int centred, int form,
                          ptrdiff_t ahead, ptrdiff_t y_ahead) {
    if (form == IN_PARTS)
        N(apply_parts)(task, rows, 0, task->length, s, centred, NULL, ahead);
    else if (form == PAST_CACHES)
        N(stream_rows)(task, rows, 0, task->length, s, centred, ahead);
    else if (form == IN_CACHE)
        N(apply_rows)(task, rows, 0, task->length, s, centred, 0, 0, IN_CACHE);
    else
        N(apply_rows)(task, rows, 0, task->length, s, centred, ahead, y_ahead, FROM_MEMORY);
}

/* One run, from row number i on. */
INLINE void N(do_run)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t i, int centred) {
    ptrdiff_t row = task->length * SIZE, size = N(array_size)(task);
    int form = N(form_of)(task), stream = form == PAST_CACHES;
    int fetch = task->y && size > FETCHED && row <= (stream ? FETCHED_STREAMED_ROW : FETCHED_ROW);
    /* Then there is nothing to fetch. */
    if (form == FROM_MEMORY && !fetch && (!Y_AHEAD || size <= N(least_fetched)())) form = IN_CACHE;
    ptrdiff_t grouped = fetch ? GROUPED_FETCHED_ROW : GROUPED_ROW, eighth = fetch ? 1024 : GROUPED_ROW / 8;
    ptrdiff_t group = row <= eighth ? LANES : row <= 2 * eighth ? 8 : row <= grouped ? 4 : 1;
    /* Streamed, y takes no room; and x comes back from L2 soon enough. */
    if (stream) group = row <= GROUPED_STREAMED_ROW ? LANES : row <= 4 * GROUPED_STREAMED_ROW ? 4 : 1;
    ptrdiff_t y_first = fetch && group == 1 && !stream ? fastln_least(row, Y_FIRST) : 0;
    N(plan) plan = N(plan_of)(task, 1);
    N(scales) s;
    for (; i < rows->count; i += group) {
        fastln_rows some = fastln_rows_at(*rows, i, rows->stride); /* a group of them */
        some.count = fastln_least(rows->count - i, group);
        int n = (int)some.count;
        for (ptrdiff_t at = 0; at < y_first; at += FASTLN_LINE) PREFETCH(some.y, at);
        N(rows_near)(plan, some.x, some.stride.x, n, centred, NULL, s.minus);
        int fine = N(row_moments)(plan, some.x, some.stride.x, n, centred, NULL, &s);
        N(give_stats)(task, &some, 0, n, &s);
        /* Past the last row there may be no memory, and to find that out costs more than a miss. */
        int more = i + 2 * group <= rows->count;
        ptrdiff_t ahead = more && fetch ? group * rows->stride.x : 0, y_ahead = more || row > FETCHED_ROW ? Y_AHEAD : 0;
        if (!fine)
            N(apply_mixed)(task, &some, 0, n, &s, centred);
        else if (task->y)
            N(write_rows)(task, &some, &s, centred, form, ahead, y_ahead);
    }
}

INLINE void N(do_rows)(const fastln_task *task, const fastln_runs *runs, int centred) {
    const fastln_rows *first = &runs->first;
    int is_short =
        task->length / LANES <= SHORT_ROW && !N(has_parts)(task) && !first->stride.weight && !first->stride.bias;
    int joined = is_short && N(are_joined)(runs);
    ptrdiff_t done = joined ? N(do_short_rows)(task, runs, centred) : 0, begin = done % first->count;
    for (ptrdiff_t run = done / first->count; run < runs->count; run++, begin = 0) {
        fastln_runs one = {.first = fastln_rows_at(*first, run, runs->distance), .count = 1};
        if (is_short && !joined) begin = N(do_short_rows)(task, &one, centred);
        N(do_run)(task, &one.first, begin, centred);
    }
}

/* Beyond it x - mean may overflow, or 1/sigma, although the result does not. */
#define FAR (REAL_MAX / 0x1p26)

/* What values are multiplied by first where statistics are given, a power of two: 1, but for such extremes. NaN for
 * NaN. A mean may be further away than the type has numbers, and a spread of zero is one of next to nothing. */
static NOINLINE double N(given_power)(double mean, double rstd) {
    int exponent, most = (sizeof(REAL) == sizeof(float) ? FLT_MAX_EXP : DBL_MAX_EXP) - 26; /* that of FAR */
    double k = 0.25;
    if (mean != mean || rstd != rstd) return NAN;
    if (fabs(rstd) > DBL_MAX) {
        k = ldexp(1, MAX_POWER);
    } else if (fabs(rstd) >= FAR) {
        frexp(rstd, &exponent);
        k = ldexp(1, exponent - most < MAX_POWER ? exponent - most : MAX_POWER);
    }
    if (fabs(mean) * k <= REAL_MAX / 4 || fabs(mean) > DBL_MAX) return k;
    frexp(mean, &exponent);
    return ldexp(1, MAX_POWER - exponent);
}

/* The scales of `count` rows whose statistics are given, and their k. Returns whether it is 1 for all. */
INLINE int N(given)(const fastln_rows *rows, ptrdiff_t first, int count, double *k, N(scales) *s) {
    int fine = 1;
    for (int j = 0; j < count; j++) {
        ptrdiff_t at = (first + j) * rows->stride.stat;
        double mean = rows->mean ? *(const double *)(rows->mean + at) : 0, rstd = *(const double *)(rows->rstd + at);
        k[j] = fabs(mean) + fabs(rstd) < FAR ? 1 : N(given_power)(mean, rstd);
        double factor = rstd / k[j], scaled = mean * k[j];
        if (fabs(factor) > REAL_MAX) factor = copysign(REAL_MAX, factor);
        REAL near = (REAL)scaled;
        s->minus[j] = -near, s->rstd[j] = (REAL)factor, s->shift[j] = (REAL)((near - scaled) * factor);
        fine &= k[j] == 1;
    }
    return fine;
}

INLINE void N(do_given_run)(const fastln_task *task, const fastln_rows *rows) {
    N(scales) s;
    double k[LANES];
    for (ptrdiff_t i = 0; i < rows->count; i += LANES) {
        fastln_rows some = fastln_rows_at(*rows, i, rows->stride);
        some.count = fastln_least(rows->count - i, LANES);
        if (N(given)(&some, 0, (int)some.count, k, &s)) {
            N(apply_parts)(task, &some, 0, task->length, &s, 1, NULL, 0);
            continue;
        }
        for (int j = 0; j < (int)some.count; j++) {
            fastln_rows row = fastln_rows_at(some, j, some.stride);
            fastln_scale scale = {.cold = 1, .k = k[j]};
            row.count = 1;
            N(given)(&row, 0, 1, k + j, &s);
            N(apply_cold)(task, &scale, &row, 0, task->length, &s, 1);
        }
    }
}

INLINE void N(do_given_rows)(const fastln_task *task, const fastln_runs *runs) {
    for (ptrdiff_t run = 0; run < runs->count; run++) {
        fastln_rows rows = fastln_rows_at(runs->first, run, runs->distance);
        N(do_given_run)(task, &rows);
    }
}
