/* moments.inc.h: the mean and the spread of rows, for one dtype.
 *
 * Single pass, in three steps that never change their order, so the bits are the same for every register width:
 *
 *   block       up to 64 vectors that stay in L1; per lane a mean of some of them, m, then the residual
 *               r = sum(x - m) and q = sum((x - m)^2). Whatever the rounding of m was, the mean is m + r/k and
 *               the squared deviations from it are q - r^2/k (Welford's update, a block at a time). The sums are
 *               gathered in strips of 8 vectors, so that rounding errors stay those of a few additions.
 *   tree        blocks merge by Chan's formula, equals with equals, so errors grow with the logarithm of the length. The
 *               mean is carried as a pair hi + lo, which is what keeps rows far from zero exact.
 *   merge_rows  a row's lanes and its tail merge around the mean of the lanes, then in double.
 *
 * A row of equal values gives hi = that value and zeros for the rest, exactly: every mean on the way is of a power of
 * two of values, added in pairs.
 *
 * Without centring (rms_norm) the same blocks and tree sum the squares.
 *
 * Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance". */

#define STRIP 8
#define GROUP 16
#define BLOCK 64
#define MAX_DEPTH 40

typedef struct { VEC hi, lo, m2; } N(lanes); /* per lane: mean = hi + lo; m2 = sum of squared deviations from it */
typedef struct {
    N(lanes) *left;
    int depth;
} N(tree);
typedef struct {                               /* what the second walk needs, per row or lane */
    REAL p[LANES], minus[LANES];               /* a value near the mean, and -p: fewer loads of x take an addition */
    REAL rstd[LANES], shift[LANES];            /* y = (x - p) * rstd + shift */
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

/* *sum + *error = a + b, exactly (Knuth). */
INLINE void N(two_sum)(VEC a, VEC b, VEC *sum, VEC *error) {
    VEC s = V(add)(a, b), back = V(sub)(s, a);
    *error = V(add)(V(sub)(a, V(sub)(s, back)), V(sub)(b, back));
    *sum = s;
}

/* The sum of four vectors. */
INLINE VEC N(fetch4)(const char *x, ptrdiff_t step, int i, int j, int l, int m, int lanes, const VEC *scale) {
    return V(add)(V(add)(N(fetch)(x + i * step, lanes, scale), N(fetch)(x + j * step, lanes, scale)),
                  V(add)(N(fetch)(x + l * step, lanes, scale), N(fetch)(x + m * step, lanes, scale)));
}

/* Minus the mean of some of k vectors, 2 <= k <= GROUP; of equal values it is minus theirs. Of a whole group half of them, or
 * the squares of the others could be too large beside the variance; and at uneven distances: values that return at even
 * ones may be unlike the rest. */
INLINE VEC N(minus_group)(const char *x, ptrdiff_t step, int k, int lanes, const VEC *scale) {
    if (k < 4)
        return V(mul)(V(add)(N(fetch)(x, lanes, scale), N(fetch)(x + k / 2 * step, lanes, scale)), V(set1)((REAL)-0.5));
    if (k < GROUP) return V(mul)(N(fetch4)(x, step, 0, k / 4, k / 2, k - k / 4, lanes, scale), V(set1)((REAL)-0.25));
    return V(mul)(V(add)(N(fetch4)(x, step, 0, 3, 7, 12, lanes, scale), N(fetch4)(x, step, 1, 5, 10, 14, lanes, scale)),
                  V(set1)((REAL)-0.125));
}
INLINE VEC N(middle)(VEC a, VEC b) { return V(mul)(V(add)(a, b), V(set1)((REAL)0.5)); }

/* The same for GROUP < k <= BLOCK, without what is left over if it is less than half a group. */
INLINE VEC N(minus_block)(const char *x, ptrdiff_t step, int k, int lanes, const VEC *scale) {
    int groups = (k + GROUP / 2) / GROUP;
    VEC m[BLOCK / GROUP];
    m[0] = N(minus_group)(x, step, GROUP, lanes, scale);
    for (int i = 1; i < groups; i++)
        m[i] = N(minus_group)(x + i * GROUP * step, step, (i + 1) * GROUP <= k ? GROUP : k - i * GROUP, lanes, scale);
    if (groups >= 4) m[2] = N(middle)(m[2], m[3]);
    if (groups >= 2) m[0] = N(middle)(m[0], m[1]);
    return groups >= 3 ? N(middle)(m[0], m[2]) : m[0];
}

typedef struct { VEC r, q; } N(sums); /* of differences from a value near the mean, and of their squares */

/* Those of k vectors, 1 <= k <= STRIP. Strips do not wait for each other, so one accumulator is enough. */
INLINE N(sums) N(strip)(const char *x, ptrdiff_t step, int k, int lanes, VEC minus, int centred, const VEC *scale) {
    VEC r = N(fetch)(x, lanes, scale);
    if (centred) r = V(add)(r, minus);
    VEC q = V(mul)(r, r);
    UNROLL4 for (int i = 1; i < k; i++) {
        VEC e = N(fetch)(x + i * step, lanes, scale);
        if (centred) {
            e = V(add)(e, minus);
            r = V(add)(r, e);
        }
        q = V(fma)(e, e, q);
    }
    return (N(sums)){r, q};
}
INLINE N(sums) N(plus)(N(sums) a, N(sums) b) { return (N(sums)){V(add)(a.r, b.r), V(add)(a.q, b.q)}; }

/* The statistics of k vectors, from their sums around -minus. */
INLINE N(lanes) N(lanes_of)(N(sums) s, VEC minus, int k, int centred) {
    VEC m = V(sub)(V(set1)(0), minus), off = V(mul)(s.r, V(set1)((REAL)1 / (REAL)k));
    N(lanes) found = {V(set1)(0), V(set1)(0), s.q};
    if (!centred) return found;
    N(two_sum)(m, off, &found.hi, &found.lo);
    found.m2 = V(fnma)(s.r, off, s.q);
    return found;
}

/* The statistics of k vectors, 1 <= k <= GROUP, `step` bytes apart. */
INLINE N(lanes) N(group)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale) {
    VEC zero = V(set1)(0), minus = zero;
    if (centred && k == 1) return (N(lanes)){N(fetch)(x, lanes, scale), zero, zero};
    if (centred) minus = N(minus_group)(x, step, k, lanes, scale);
    if (k < STRIP) return N(lanes_of)(N(strip)(x, step, k, lanes, minus, centred, scale), minus, k, centred);
    N(sums) s = N(strip)(x, step, STRIP, lanes, minus, centred, scale);
    if (k > STRIP) s = N(plus)(s, N(strip)(x + STRIP * step, step, k - STRIP, lanes, minus, centred, scale));
    return N(lanes_of)(s, minus, k, centred);
}

/* Fetches the vectors that lie `ahead` bytes after those of a strip, if that is not 0. */
INLINE void N(prefetch_strip)(const char *x, ptrdiff_t step, ptrdiff_t ahead) {
    for (int i = 0; ahead && i < STRIP; i++) PREFETCH(x, i * step + ahead);
}

/* The same for GROUP < k <= BLOCK. */
INLINE N(lanes)
    N(block)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale, ptrdiff_t ahead) {
    VEC minus = centred ? N(minus_block)(x, step, k, lanes, scale) : V(set1)(0);
    N(prefetch_strip)(x, step, ahead);
    N(sums) s = N(strip)(x, step, STRIP, lanes, minus, centred, scale);
    int i = STRIP;
    for (; i + STRIP <= k; i += STRIP) {
        N(prefetch_strip)(x + i * step, step, ahead);
        s = N(plus)(s, N(strip)(x + i * step, step, STRIP, lanes, minus, centred, scale));
    }
    if (i < k) s = N(plus)(s, N(strip)(x + i * step, step, k - i, lanes, minus, centred, scale));
    return N(lanes_of)(s, minus, k, centred);
}

/* Chan's formula for b after a; of all their values `part` are b's, and harmonic = na * nb / (na + nb). */
INLINE N(lanes) N(merge)(N(lanes) a, N(lanes) b, REAL part, REAL harmonic, int centred) {
    N(lanes) s = {a.hi, a.lo, V(add)(a.m2, b.m2)};
    if (!centred) return s;
    VEC delta = V(add)(V(sub)(b.hi, a.hi), V(sub)(b.lo, a.lo)), shift = V(mul)(delta, V(set1)(part));
    VEC error;
    N(two_sum)(a.hi, shift, &s.hi, &error);
    s.lo = V(add)(a.lo, error);
    s.m2 = V(fma)(V(mul)(delta, delta), V(set1)(harmonic), s.m2);
    return s;
}

/* The same after na vectors and nb. */
INLINE N(lanes) N(merge_counts)(N(lanes) a, ptrdiff_t na, N(lanes) b, ptrdiff_t nb, int centred) {
    double n = (double)(na + nb);
    return N(merge)(a, b, (REAL)((double)nb / n), (REAL)((double)na * (double)nb / n), centred);
}

/* Where the next leaf belongs. */
INLINE N(lanes) *N(tree_next)(N(tree) *tree) { return tree->left + tree->depth; }

/* Adds the leaf that was put there, number i, counting from 0; all leaves have n vectors. */
INLINE void N(tree_add)(N(tree) *tree, ptrdiff_t i, ptrdiff_t n, int centred) {
    N(lanes) *top = tree->left + tree->depth++;
    REAL harmonic = (REAL)n / 2;
    for (; i & 1; i >>= 1, harmonic *= 2, tree->depth--, top--)
        top[-1] = N(merge)(top[-1], top[0], (REAL)0.5, harmonic, centred);
}

/* The whole tree, of `leaves` leaves of n vectors; then `rest`, if rest_n > 0, of rest_n. */
INLINE N(lanes)
    N(tree_top)(N(tree) *tree, ptrdiff_t leaves, ptrdiff_t n, N(lanes) rest, ptrdiff_t rest_n, int centred) {
    if (rest_n == 0) {
        rest = tree->left[--tree->depth];
        rest_n = (leaves & -leaves) * n;
        leaves &= leaves - 1;
    }
    for (; tree->depth > 0; leaves &= leaves - 1) {
        rest = N(merge_counts)(tree->left[--tree->depth], (leaves & -leaves) * n, rest, rest_n, centred);
        rest_n += (leaves & -leaves) * n;
    }
    return rest;
}

/* The instances: of rows, with a constant step, of others, and whatever the cold path and the last columns need. They write
 * where the result is needed, as copies of structs go by half registers, for which loads of whole ones have to wait. */
static NOINLINE void N(row_group)(const char *x, int k, int centred, N(lanes) *to) {
    if (k == GROUP)
        *to = centred ? N(group)(x, LANES * SIZE, GROUP, LANES, 1, NULL)
                      : N(group)(x, LANES * SIZE, GROUP, LANES, 0, NULL);
    else
        *to = centred ? N(group)(x, LANES * SIZE, k, LANES, 1, NULL) : N(group)(x, LANES * SIZE, k, LANES, 0, NULL);
}
static NOINLINE void N(row_block)(const char *x, int k, int centred, ptrdiff_t ahead, N(lanes) *to) {
    *to = centred ? N(block)(x, LANES * SIZE, k, LANES, 1, NULL, ahead)
                  : N(block)(x, LANES * SIZE, k, LANES, 0, NULL, ahead);
}
static NOINLINE void N(column_block)(const char *x, ptrdiff_t step, int k, int centred, N(lanes) *to) {
    if (k <= GROUP)
        *to = centred ? N(group)(x, step, k, LANES, 1, NULL) : N(group)(x, step, k, LANES, 0, NULL);
    else
        *to = centred ? N(block)(x, step, k, LANES, 1, NULL, 0) : N(block)(x, step, k, LANES, 0, NULL, 0);
}
static NOINLINE void N(any_block)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale,
                                  N(lanes) *to) {
    *to = k <= GROUP ? N(group)(x, step, k, lanes, centred, scale) : N(block)(x, step, k, lanes, centred, scale, 0);
}
INLINE void N(block_of)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale, ptrdiff_t ahead,
                        N(lanes) *to) {
    if (scale || lanes < LANES)
        N(any_block)(x, step, k, lanes, centred, scale, to);
    else if (step != LANES * SIZE)
        N(column_block)(x, step, k, centred, to);
    else if (k <= GROUP)
        N(row_group)(x, k, centred, to);
    else
        N(row_block)(x, k, centred, ahead, to);
}

/* The statistics of more than one block. */
static NOINLINE void N(all_blocks)(const char *x, ptrdiff_t step, ptrdiff_t count, int lanes, int centred,
                                   const VEC *scale, N(lanes) *to) {
    N(lanes) left[MAX_DEPTH], rest = {V(set1)(0), V(set1)(0), V(set1)(0)};
    N(tree) tree = {left, 0};
    ptrdiff_t blocks = count / BLOCK, size = BLOCK * step;
    int rest_n = (int)(count % BLOCK);
    for (ptrdiff_t i = 0; i < blocks; i++, x += size) {
        ptrdiff_t ahead = blocks > FETCHED_BLOCKS && i + 1 < blocks ? size : 0;
        N(block_of)(x, step, BLOCK, lanes, centred, scale, ahead, N(tree_next)(&tree));
        N(tree_add)(&tree, i, BLOCK, centred);
    }
    if (rest_n) N(block_of)(x, step, rest_n, lanes, centred, scale, 0, &rest);
    *to = N(tree_top)(&tree, blocks, BLOCK, rest, rest_n, centred);
}

/* The statistics of count >= 1 vectors. */
INLINE void N(vectors)(const char *x, ptrdiff_t step, ptrdiff_t count, int lanes, int centred, const VEC *scale,
                       N(lanes) *to) {
    if (count <= BLOCK)
        N(block_of)(x, step, (int)count, lanes, centred, scale, 0, to);
    else
        N(all_blocks)(x, step, count, lanes, centred, scale, to);
}

/* The scales of `rows` rows or lanes, from their values' sums r and squared sums q about s->p; eight at a time in double.
 * On the cold path k is what each was scaled by, or NULL. Returns whether all are fine. */
static NOINLINE int N(finish)(N(plan) plan, int rows, const REAL *r, const REAL *q, const double *k, N(scales) *s) {
    f64_vec inverse = f64_set1(plan.inverse), eps = f64_set1(plan.eps);
    int fine = 1;
    for (int i = 0; i < rows; i += 8) {
        f64_vec sum = V(widen)(r + i), offset = f64_mul(sum, inverse), scaled_eps = eps;
        f64_vec m2 = f64_sub(V(widen)(q + i), f64_mul(sum, offset));
        if (k) scaled_eps = f64_mul(f64_mul(eps, f64_load(k + i)), f64_load(k + i));
        f64_vec var = f64_add(f64_mul(m2, inverse), scaled_eps), rstd = f64_div(f64_set1(1), f64_sqrt(var));
        f64_store(s->m2 + i, m2);
        f64_store(s->var + i, var);
        f64_store(s->mean + i, f64_add(V(widen)(s->p + i), offset));
        V(narrow)(s->minus + i, f64_mul(V(widen)(s->p + i), f64_set1(-1)));
        V(narrow)(s->rstd + i, rstd);
        V(narrow)(s->shift + i, f64_mul(offset, f64_sub(f64_set1(0), rstd)));
        fine &= f64_within(var, SMALL_VARIANCE, DBL_MAX);
    }
    return fine;
}

/* The same for a row by itself, without vectors that are mostly empty: it waits for each of these steps. */
INLINE int N(finish_one)(N(plan) plan, double sum, double squares, N(scales) *s) {
    double offset = sum * plan.inverse, m2 = squares - sum * offset, var = m2 * plan.inverse + plan.eps;
    double rstd = 1 / sqrt(var);
    s->m2[0] = m2, s->var[0] = var;
    s->mean[0] = s->p[0] + offset;
    s->minus[0] = -s->p[0];
    s->rstd[0] = (REAL)rstd;
    s->shift[0] = (REAL)(offset * (0 - rstd));
    return N(is_fine)(s, 0);
}

INLINE int N(finish_rows)(N(plan) plan, int rows, REAL *r, REAL *q, N(scales) *s) {
    if (rows == 1) return N(finish_one)(plan, r[0], q[0], s);
    /* The rest are no rows, but fine ones. Four at a time, as they are loaded: a load has to wait for smaller stores. */
    int i = rows;
    for (; i % 4; i++) s->p[i] = r[i] = 0, q[i] = (REAL)plan.length;
    for (; i % 8; i += 4)
        for (int j = 0; j < 4; j++) s->p[i + j] = r[i + j] = 0, q[i + j] = (REAL)plan.length;
    return N(finish)(plan, rows, r, q, NULL, s);
}

/* Merges the lanes of up to 4 rows (the rest of `lanes` is zero), each with its tail: sums r and q about p. */
INLINE void N(merge_rows)(N(plan) plan, const char *tail, ptrdiff_t stride, int rows, const N(lanes) lanes[4],
                          int centred, const VEC *scale, REAL *p, REAL *r, REAL *q) {
    VEC rv[4], qv[4], full = V(set1)((REAL)plan.full), zero = V(set1)(0);
    V(fold4)(lanes[0].hi, lanes[1].hi, lanes[2].hi, lanes[3].hi, p);
    for (int j = 0; j < 4; j++) p[j] *= (REAL)1 / LANES;
    UNROLL4 for (int j = 0; j < 4; j++) {
        rv[j] = zero, qv[j] = lanes[j].m2;
        if (j >= rows) continue;
        VEC around = V(set1)(p[j]);
        if (centred) {
            VEC d = V(sub)(lanes[j].hi, around);
            if (plan.full > 1) d = V(add)(d, lanes[j].lo); /* else it is 0 */
            rv[j] = V(mul)(full, d);
            qv[j] = V(fma)(rv[j], d, qv[j]);
        }
        if (plan.tail) {
            VEC e = N(fetch)(tail + j * stride, plan.tail, scale);
            if (centred) {
                e = V(keep)(V(sub)(e, around), plan.tail);
                rv[j] = V(add)(rv[j], e);
            }
            qv[j] = V(fma)(e, e, qv[j]);
        }
    }
    V(fold4)(rv[0], rv[1], rv[2], rv[3], r);
    V(fold4)(qv[0], qv[1], qv[2], qv[3], q);
}

/* The scale of one row, from its lanes and its tail. */
INLINE int N(merge_one)(N(plan) plan, const char *tail, const N(lanes) lanes[4], int centred, const VEC *scale,
                        N(scales) *s) {
    REAL r[8], q[8];
    N(merge_rows)(plan, tail, 0, 1, lanes, centred, scale, s->p, r, q);
    return N(finish_rows)(plan, 1, r, q, s);
}

/* The lanes of up to 4 rows, merged. in_registers: plan.full is a constant, and so small that all stays there. */
INLINE void N(four_rows)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, int in_registers,
                         const VEC *scale, REAL *p, REAL *r, REAL *q) {
    VEC zero = V(set1)(0);
    N(lanes) lanes[4];
    UNROLL4 for (int j = 0; j < 4; j++) {
        const char *row = x + j * stride;
        if (j >= rows || !plan.full)
            lanes[j] = (N(lanes)){zero, zero, zero};
        else if (in_registers)
            lanes[j] = N(group)(row, LANES * SIZE, (int)plan.full, LANES, centred, NULL);
        else
            N(vectors)(row, LANES * SIZE, plan.full, LANES, centred, scale, lanes + j);
        /* Less than a vector: the lanes only give a mean to start from, so none may be empty. */
        if (j < rows && !plan.full && centred) {
            REAL first[LANES];
            VEC v = N(fetch)(row, plan.tail, scale);
            V(store)(first, v);
            lanes[j].hi = V(fill)(v, plan.tail, first[0]);
        }
        if (!centred) lanes[j].hi = zero; /* as it is: to spare the compiler the rest */
    }
    N(merge_rows)(plan, x + plan.full * LANES * SIZE, stride, rows, lanes, centred, scale, p, r, q);
}

/* The scales of up to LANES rows. */
INLINE int N(row_moments)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, int in_registers,
                          const VEC *scale, N(scales) *s) {
    REAL r[LANES], q[LANES];
    int i = 0;
    for (; i + 4 <= rows; i += 4)
        N(four_rows)(plan, x + i * stride, stride, 4, centred, in_registers, scale, s->p + i, r + i, q + i);
    if (i < rows)
        N(four_rows)(plan, x + i * stride, stride, rows - i, centred, in_registers, scale, s->p + i, r + i, q + i);
    return N(finish_rows)(plan, rows, r, q, s);
}

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
