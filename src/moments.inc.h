/* moments.inc.h: the mean and the spread of rows, for one dtype.
 *
 * Single pass over the row, in steps that never change their order, so the bits are the same for every register width:
 *
 *   near        a value near the mean: that of a small sample of vectors. Whatever it is, the mean is m + r/n with the
 *               residual r = sum(x - m), and the squared deviations from it are q - r^2/n with q = sum((x - m)^2)
 *               (Welford's update, a row at a time).
 *   blocks      r and q are gathered in strips of 4 vectors, pairs of these, and blocks of 64 vectors, whose pairs take
 *               two turns, so that rounding errors stay those of a few additions: equal squares that follow a large one
 *               would otherwise all be rounded alike.
 *   tree        the sums of blocks are added equals to equals, so errors grow with the logarithm of the length.
 *   fold        those of a row's lanes are added, and the mean and the spread found in double.
 *
 * If much of q is r^2/n, the sample was not like the row, and q, rounded as it is, holds the spread less well: then
 * once more, around the mean that was found. The mean of k of n values is at most sqrt(n/k) standard deviations away,
 * so that one is near.
 *
 * A row of equal values gives m = that value and zeros for the rest, exactly: the sample is a power of two of values,
 * added in pairs.
 *
 * Without centring (rms_norm) the same sums are those of the squares.
 *
 * Welford 1962, "Note on a method for calculating corrected sums of squares and products"; Chan, Golub & LeVeque 1983,
 * "Algorithms for computing the sample variance". */

#define STRIP 4
#define PAIR 8
#define BLOCK 64
#define INLINED 48 /* vectors; rows of no more are measured without a call, which costs as much as some of them */
#define MAX_DEPTH 40
#define LARGE_SAMPLE 32 /* vectors; of so many the sample is large */
#define NOTHING_AHEAD (-1)

typedef struct { VEC r, q; } N(sums); /* of differences from a value near the mean, and of their squares */
typedef struct {
    N(sums) *left;
    int depth;
} N(tree);
typedef struct {                               /* what the second walk needs, per row or lane */
    REAL minus[LANES];                         /* minus a value near the mean: a load is part of an addition */
    REAL rstd[LANES], shift[LANES];            /* y = (x + minus) * rstd + shift */
    double mean[LANES], var[LANES], m2[LANES]; /* var includes eps */
} N(scales);

/* Not so after an overflow or underflow on the way: then once more, scaled. */
INLINE int N(is_fine)(const N(scales) *s, int i) { return s->var[i] >= SMALL_VARIANCE && s->var[i] <= DBL_MAX; }
/* Not fine for want of any spread. */
INLINE int N(is_flat)(const N(scales) *s, int i) { return !N(is_fine)(s, i) && s->m2[i] == 0; }

typedef struct {            /* of a task, what the inner functions use; a local copy, so stores to y can't change it */
    ptrdiff_t length, full; /* full: vectors, without the tail */
    int tail;
    double inverse, eps; /* 1 / length */
} N(plan);

/* Of rows that are multiplied by k, a power of two: 1 but on the cold path. */
INLINE N(plan) N(plan_of)(const fastln_task *task, double k) {
    return (N(plan)){task->length, task->length / LANES, (int)(task->length % LANES), 1 / (double)task->length,
                     task->eps * k * k}; /* in this order: k * k may overflow */
}

/* `lanes` values at x; scale is NULL but on the cold path. */
INLINE VEC N(fetch)(const char *x, int lanes, const VEC *scale) {
    VEC v = lanes == LANES ? E(load)((const ELEMENT *)x) : E(load_n)((const ELEMENT *)x, lanes);
    return scale ? V(mul)(v, *scale) : v;
}

/* The mean of a sample of k vectors, 2, 4 or 8 of them; of equal values it is theirs. */
INLINE VEC N(sample)(const char *x, ptrdiff_t step, ptrdiff_t k, int size, int lanes, const VEC *scale) {
#define SAMPLED(i) N(fetch)(x + fastln_sampled(k, i, size) * step, lanes, scale)
    VEC a = SAMPLED(0), b = SAMPLED(1);
    if (size >= 4) a = V(add)(a, SAMPLED(2)), b = V(add)(b, SAMPLED(3));
    if (size == 8) {
        a = V(add)(a, V(add)(SAMPLED(4), SAMPLED(6)));
        b = V(add)(b, V(add)(SAMPLED(5), SAMPLED(7)));
    }
    return V(mul)(V(add)(a, b), V(set1)((REAL)1 / (REAL)size));
#undef SAMPLED
}

/* The same, of so many that the mean of 16 (or 8) lanes is within 0.4 standard deviations of the row's, but for one row
 * in 1,000 to 10^5. */
INLINE VEC N(near)(const char *x, ptrdiff_t step, ptrdiff_t k, int lanes, const VEC *scale) {
    if (k == 1) return N(fetch)(x, lanes, scale);
    if (k < 4) return N(sample)(x, step, k, 2, lanes, scale);
    return k < LARGE_SAMPLE ? N(sample)(x, step, k, 4, lanes, scale) : N(sample)(x, step, k, 8, lanes, scale);
}

/* a + b. Some additions are written so: on some processors they would wait while multiplications have room. */
INLINE VEC N(sum)(VEC a, VEC b) { return ADDS_BY_FMA ? V(fma)(a, V(set1)(1), b) : V(add)(a, b); }

INLINE N(sums) N(plus)(N(sums) a, N(sums) b) { return (N(sums)){V(add)(a.r, b.r), N(sum)(a.q, b.q)}; }

/* The sums about -minus of k vectors, 1 <= k <= STRIP. Strips do not wait for each other, so one accumulator is enough.
 * What lies `ahead` bytes further on is fetched, unless that is NOTHING_AHEAD. */
INLINE N(sums) N(strip)(const char *x, ptrdiff_t step, int k, int lanes, VEC minus, int centred, const VEC *scale,
                        ptrdiff_t ahead) {
    VEC e = N(fetch)(x, lanes, scale), r = V(set1)(0);
    if (ahead != NOTHING_AHEAD) PREFETCH(x, ahead);
    if (centred) r = e = V(add)(e, minus);
    VEC q = V(mul)(e, e);
    UNROLL4 for (int i = 1; i < k; i++) {
        e = N(fetch)(x + i * step, lanes, scale);
        if (ahead != NOTHING_AHEAD) PREFETCH(x, i * step + ahead);
        if (centred) e = V(add)(e, minus), r = i & 1 ? N(sum)(e, r) : V(add)(r, e);
        q = V(fma)(e, e, q);
    }
    return (N(sums)){r, q};
}

/* The same for 1 <= k <= PAIR. */
INLINE N(sums) N(pair)(const char *x, ptrdiff_t step, int k, int lanes, VEC minus, int centred, const VEC *scale,
                       ptrdiff_t ahead) {
#define STRIP_AT(i, n) N(strip)(x + (i) * step, step, n, lanes, minus, centred, scale, ahead)
    return k <= STRIP ? STRIP_AT(0, k) : N(plus)(STRIP_AT(0, STRIP), STRIP_AT(STRIP, k - STRIP));
#undef STRIP_AT
}

/* The same for 1 <= k <= BLOCK, the pairs in two turns. */
INLINE N(sums) N(block)(const char *x, ptrdiff_t step, int k, int lanes, VEC minus, int centred, const VEC *scale,
                        ptrdiff_t ahead) {
#define PAIR_AT(i, n) N(pair)(x + (i) * step, step, n, lanes, minus, centred, scale, ahead)
    if (k < PAIR) return PAIR_AT(0, k);
    N(sums) even = PAIR_AT(0, PAIR), odd = {V(set1)(0), V(set1)(0)};
    int i = PAIR;
    for (; i + 2 * PAIR <= k; i += 2 * PAIR) {
        odd = N(plus)(odd, PAIR_AT(i, PAIR));
        even = N(plus)(even, PAIR_AT(i + PAIR, PAIR));
    }
    if (i + PAIR <= k) odd = N(plus)(odd, PAIR_AT(i, PAIR)), i += PAIR;
    if (i < k) even = N(plus)(even, PAIR_AT(i, k - i));
    return N(plus)(even, odd);
#undef PAIR_AT
}

/* Where the next leaf belongs. */
INLINE N(sums) *N(tree_next)(N(tree) *tree) { return tree->left + tree->depth; }

/* Adds the leaf that was put there, number i, counting from 0. */
INLINE void N(tree_add)(N(tree) *tree, ptrdiff_t i) {
    N(sums) *top = tree->left + tree->depth++;
    for (; i & 1; i >>= 1, tree->depth--, top--) top[-1] = N(plus)(top[-1], top[0]);
}

/* The whole tree; `rest` is what is shorter than a leaf, or zeros. */
INLINE N(sums) N(tree_top)(N(tree) *tree, N(sums) rest) {
    while (tree->depth > 0) rest = N(plus)(tree->left[--tree->depth], rest);
    return rest;
}

/* The sums of count >= 1 vectors; of long rows the next block is fetched while one is measured. */
INLINE N(sums)
    N(all_blocks)(const char *x, ptrdiff_t step, ptrdiff_t count, int lanes, VEC minus, int centred, const VEC *scale) {
    N(sums) left[MAX_DEPTH], rest = {V(set1)(0), V(set1)(0)};
    N(tree) tree = {left, 0};
    ptrdiff_t blocks = count / BLOCK, size = BLOCK * step;
    int rest_n = (int)(count % BLOCK);
    for (ptrdiff_t i = 0; i < blocks; i++, x += size) {
        ptrdiff_t ahead = blocks > FETCHED_BLOCKS && i + 1 < blocks ? size : 0;
        *N(tree_next)(&tree) = N(block)(x, step, BLOCK, lanes, minus, centred, scale, ahead);
        N(tree_add)(&tree, i);
    }
    if (rest_n) rest = N(block)(x, step, rest_n, lanes, minus, centred, scale, NOTHING_AHEAD);
    return N(tree_top)(&tree, rest);
}

/* Whether so much of q is r^2/n that the spread is not well known. Not of NaNs. */
INLINE int N(is_far)(N(plan) plan, REAL r, REAL q) {
    double sum = r, squares = q;
    return squares - sum * (sum * plan.inverse) < NEAR_PART * squares;
}

/* The scales of `rows` rows or lanes, from their values' sums r and squared sums q about -s->minus; eight at a time in
 * double. On the cold path k is what each was scaled by, or NULL. Returns whether all are fine, and none is far. */
static NOINLINE int N(finish)(N(plan) plan, int rows, const REAL *r, const REAL *q, const double *k, N(scales) *s) {
    f64_vec inverse = f64_set1(plan.inverse), eps = f64_set1(plan.eps);
    int fine = 1;
    for (int i = 0; i < rows; i += 8) {
        f64_vec sum = V(widen)(r + i), squares = V(widen)(q + i), offset = f64_mul(sum, inverse), scaled_eps = eps;
        f64_vec m2 = f64_sub(squares, f64_mul(sum, offset));
        if (k) scaled_eps = f64_mul(f64_mul(eps, f64_load(k + i)), f64_load(k + i));
        f64_vec var = f64_add(f64_mul(m2, inverse), scaled_eps), rstd = f64_div(f64_set1(1), f64_sqrt(var));
        f64_store(s->m2 + i, m2);
        f64_store(s->var + i, var);
        f64_store(s->mean + i, f64_sub(offset, V(widen)(s->minus + i)));
        V(narrow)(s->rstd + i, rstd);
        V(narrow)(s->shift + i, f64_mul(offset, f64_sub(f64_set1(0), rstd)));
        fine &= f64_within(var, SMALL_VARIANCE, DBL_MAX);
        fine &= f64_within(f64_sub(m2, f64_mul(squares, f64_set1(NEAR_PART))), 0, DBL_MAX);
    }
    return fine;
}

/* The same for a row by itself, without vectors that are mostly empty: it waits for each of these steps. */
INLINE int N(finish_one)(N(plan) plan, REAL r, REAL q, N(scales) *s) {
    double sum = r, squares = q, offset = sum * plan.inverse, m2 = squares - sum * offset;
    double var = m2 * plan.inverse + plan.eps, rstd = 1 / sqrt(var);
    s->m2[0] = m2, s->var[0] = var;
    s->mean[0] = offset - s->minus[0];
    s->rstd[0] = (REAL)rstd;
    s->shift[0] = (REAL)(offset * (0 - rstd));
    return N(is_fine)(s, 0) && !N(is_far)(plan, r, q);
}

INLINE int N(finish_rows)(N(plan) plan, int rows, REAL *r, REAL *q, N(scales) *s) {
    if (rows == 1) return N(finish_one)(plan, r[0], q[0], s);
    /* The rest are no rows, but fine ones. Four at a time, as they are loaded: a load has to wait for smaller stores.
     */
    int i = rows;
    for (; i % 4; i++) s->minus[i] = r[i] = 0, q[i] = (REAL)plan.length;
    for (; i % 8; i += 4)
        for (int j = 0; j < 4; j++) s->minus[i + j] = r[i + j] = 0, q[i + j] = (REAL)plan.length;
    return N(finish)(plan, rows, r, q, NULL, s);
}

/* The same sums with the last values of a row, less than a vector, if there are any. */
INLINE N(sums) N(with_tail)(N(sums) s, const char *x, int tail, VEC minus, int centred, const VEC *scale) {
    if (!tail) return s;
    VEC e = N(fetch)(x, tail, scale);
    if (centred) {
        e = V(keep)(V(add)(e, minus), tail);
        s.r = V(add)(s.r, e);
    }
    s.q = V(fma)(e, e, s.q);
    return s;
}

/* Of a row of `full` vectors and a tail a vector whose mean is near its own. */
INLINE VEC N(row_near)(const char *x, ptrdiff_t full, int tail, const VEC *scale) {
    if (full) return N(near)(x, LANES * SIZE, full, LANES, scale);
    REAL a[LANES]; /* no lane may be empty: the others get what near would find of the values */
    VEC v = N(fetch)(x, tail, scale);
    V(store)(a, v);
    REAL sum = (a[fastln_sampled(tail, 0, 4)] + a[fastln_sampled(tail, 2, 4)]) +
               (a[fastln_sampled(tail, 1, 4)] + a[fastln_sampled(tail, 3, 4)]);
    return V(fill)(v, tail, sum * (REAL)0.25);
}

/* Its sums about -minus; is_long: it may have more than a block. */
INLINE N(sums)
    N(row_sums)(const char *x, ptrdiff_t full, int tail, VEC minus, int is_long, int centred, const VEC *scale) {
    N(sums) s = {V(set1)(0), V(set1)(0)};
    if (is_long && full > BLOCK)
        s = N(all_blocks)(x, LANES * SIZE, full, LANES, minus, centred, scale);
    else if (full)
        s = N(block)(x, LANES * SIZE, (int)full, LANES, minus, centred, scale, NOTHING_AHEAD);
    return N(with_tail)(s, x + full * LANES * SIZE, tail, minus, centred, scale);
}
static NOINLINE void N(any_row)(const char *x, ptrdiff_t full, int tail, REAL minus, int centred, const VEC *scale,
                                N(sums) *to) {
    VEC about = V(set1)(minus);
    if (scale)
        *to = N(row_sums)(x, full, tail, about, 1, centred, scale);
    else
        *to = centred ? N(row_sums)(x, full, tail, about, 1, 1, NULL) : N(row_sums)(x, full, tail, about, 1, 0, NULL);
}

/* Minus the means of four vectors. Of zeros it is the positive one. */
INLINE void N(fold_near)(const VEC near[4], REAL minus[4]) {
    V(fold4)(near[0], near[1], near[2], near[3], minus);
    for (int j = 0; j < 4; j++) minus[j] = 0 - minus[j] * ((REAL)1 / LANES);
}
INLINE void N(fold_sums)(const N(sums) s[4], REAL r[4], REAL q[4]) {
    V(fold4)(s[0].r, s[1].r, s[2].r, s[3].r, r);
    V(fold4)(s[0].q, s[1].q, s[2].q, s[3].q, q);
}

/* Minus what up to 4 rows are measured around. */
INLINE void N(four_near)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, const VEC *scale,
                         REAL *minus) {
    VEC zero = V(set1)(0), near[4] = {zero, zero, zero, zero};
    UNROLL4 for (int j = 0; j < 4; j++) if (centred && j < rows) near[j] =
        N(row_near)(x + j * stride, plan.full, plan.tail, scale);
    N(fold_near)(near, minus);
}

/* Their sums about that. in_registers: they are 4, and plan.full is a constant, so small that all stays there. */
INLINE void N(four_sums)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, int in_registers,
                         const VEC *scale, const REAL *minus, REAL *r, REAL *q) {
    VEC zero = V(set1)(0);
    N(sums) s[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
#define SUMS(j) N(row_sums)(x + (j) * stride, plan.full, plan.tail, V(set1)(minus[j]), 0, centred, NULL)
    UNROLL4 for (int j = 0; j < 4; j++) {
        if (in_registers || (j < rows && plan.full <= INLINED && !scale))
            s[j] = SUMS(j);
        else if (j < rows)
            N(any_row)(x + j * stride, plan.full, plan.tail, minus[j], centred, scale, s + j);
    }
#undef SUMS
    N(fold_sums)(s, r, q);
}

/* Once more for those rows that are far from what they were measured around, now around the mean. Their scales are from
 * number `first` on. Returns whether all rows are fine. */
static NOINLINE int N(measure_far)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred,
                                   const VEC *scale, const REAL *r, const REAL *q, int first, N(scales) *s) {
    int fine = 1;
    for (int j = 0; j < rows; j++) {
        int row = first + j;
        if (N(is_far)(plan, r[j], q[j])) {
            VEC zero = V(set1)(0);
            N(sums) again[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
            N(scales) one;
            REAL sum[4], squares[4];
            one.minus[0] = (REAL)(0 - s->mean[row]);
            N(any_row)(x + j * stride, plan.full, plan.tail, one.minus[0], centred, scale, again);
            N(fold_sums)(again, sum, squares);
            N(finish_one)(plan, sum[0], squares[0], &one);
            s->minus[row] = one.minus[0], s->rstd[row] = one.rstd[0], s->shift[row] = one.shift[0];
            s->mean[row] = one.mean[0], s->var[row] = one.var[0], s->m2[row] = one.m2[0];
        }
        fine &= N(is_fine)(s, row);
    }
    return fine;
}

/* `do_four` for all of up to LANES rows, n at a time from number i on. */
#define FOR_FOURS(rows, do_four)        \
    for (int i = 0; i < rows; i += 4) { \
        if (rows - i >= 4)              \
            do_four(4);                 \
        else if (rows - i == 1)         \
            do_four(1);                 \
        else                            \
            do_four(rows - i);          \
    }

/* Minus what up to LANES rows are measured around. */
INLINE void N(rows_near)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, const VEC *scale,
                         REAL *minus){
#define NEAR(n) N(four_near)(plan, x + i * stride, stride, n, centred, scale, minus + i)
    FOR_FOURS(rows, NEAR)
#undef NEAR
}

/* The scales of up to LANES rows, around -s->minus. */
INLINE int N(row_moments)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, const VEC *scale,
                          N(scales) *s) {
    REAL r[LANES], q[LANES];
#define SUMS(n) N(four_sums)(plan, x + i * stride, stride, n, centred, 0, scale, s->minus + i, r + i, q + i)
    FOR_FOURS(rows, SUMS)
#undef SUMS
    return N(finish_rows)(plan, rows, r, q, s) || N(measure_far)(plan, x, stride, rows, centred, scale, r, q, 0, s);
}
#undef FOR_FOURS

/* A power of two that brings values of size up to `top` near 1, or sqrt(eps) if that is larger: what is small beside it
 * means nothing, and eps * k^2 must not overflow. NaN for Inf and NaN. */
static double N(power)(double top, double eps) {
    int exponent;
    if (!(top <= REAL_MAX)) return NAN;
    double size = fmax(top, fmin(sqrt(eps), 1));
    frexp(size, &exponent);
    return size == 0 ? 1 : ldexp(1, exponent < 2 - MAX_POWER ? MAX_POWER : 2 - exponent);
}

/* The largest |x| of each lane, NaN if it has an Inf or a NaN. */
static NOINLINE VEC N(largest)(VEC top, const char *x, ptrdiff_t step, ptrdiff_t count, int lanes) {
    VEC bad = V(set1)(0);
    for (ptrdiff_t i = 0; i < count; i++) {
        VEC v = N(fetch)(x + i * step, lanes, NULL);
        top = V(max)(V(abs)(v), top);
        bad = V(fma)(v, V(set1)(0), bad);
    }
    return V(add)(top, bad);
}
