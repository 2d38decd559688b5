/* moments.inc.h: the mean and the spread of rows, for one dtype.
 *
 * Single pass over memory, in steps that never change their order, so the bits are the same for every register width:
 *
 *   near        a value near the mean: of each lane the mean of its whole strips; of the lanes one in which no single value
 *               that is far away takes part. Whatever it is, the mean is m + r/n with the residual r = sum(x - m), and the
 *               squared deviations from it are q - r^2/n with q = sum((x - m)^2) (Welford's update, a row at a time).
 *   strips      r and q are gathered in strips of 8 vectors, so that rounding errors stay those of a few additions.
 *
 * That is all for rows of one block, up to 64 vectors, which stay in L1. Longer ones:
 *
 *   block       the same for each lane of 64 vectors, around the lane's own m.
 *   tree        blocks merge by Chan's formula, equals with equals, so errors grow with the logarithm of the length. The
 *               mean is carried as a pair hi + lo, which is what keeps rows far from zero exact.
 *   merge       a row's lanes and its tail merge around a value near the lanes' means, then in double.
 *
 * A row of equal values gives m = that value and zeros for the rest, exactly: every mean on the way is of a power of
 * two of values, added in pairs.
 *
 * Without centring (rms_norm) the same blocks and tree sum the squares.
 *
 * Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance". */

#define STRIP 8
#define BLOCK 64
#define MAX_DEPTH 40

typedef struct { VEC hi, lo, m2; } N(lanes); /* per lane: mean = hi + lo; m2 = sum of squared deviations from it */
typedef struct {
    N(lanes) *left;
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

/* Of a few vectors or values, four are a sample: the first, these, and number k / 2. Of less than four some count twice. */
INLINE int N(second)(int k) { return k < 4 ? 0 : k / 4; }
INLINE int N(fourth)(int k) { return k < 4 ? k / 2 : k - k / 4; }

/* The mean of that sample of k vectors; of equal values it is theirs. */
INLINE VEC N(near_few)(const char *x, ptrdiff_t step, int k, int lanes, const VEC *scale) {
    return V(mul)(N(fetch4)(x, step, 0, N(second)(k), k / 2, N(fourth)(k), lanes, scale), V(set1)((REAL)0.25));
}
INLINE VEC N(near_strip)(const char *x, ptrdiff_t step, int lanes, const VEC *scale) {
    return V(mul)(V(add)(N(fetch4)(x, step, 0, 1, 2, 3, lanes, scale), N(fetch4)(x, step, 4, 5, 6, 7, lanes, scale)),
                  V(set1)((REAL)0.125));
}
INLINE VEC N(middle)(VEC a, VEC b) { return V(mul)(V(add)(a, b), V(set1)((REAL)0.5)); }

INLINE VEC N(near_two_strips)(const char *x, ptrdiff_t step, int lanes, const VEC *scale) {
    return N(middle)(N(near_strip)(x, step, lanes, scale), N(near_strip)(x + STRIP * step, step, lanes, scale));
}

/* Near to 1 <= k <= BLOCK vectors: the mean of all whole strips. What is not in it may be far away, and its squares too large
 * beside the variance. Means of two, as others of equal values need not be theirs. */
INLINE VEC N(near)(const char *x, ptrdiff_t step, int k, int lanes, const VEC *scale) {
    VEC m[BLOCK / STRIP / 2];
    int n = k / (2 * STRIP);
    if (k < STRIP) return N(near_few)(x, step, k, lanes, scale);
    for (int i = 0; i < n; i++) m[i] = N(near_two_strips)(x + i * 2 * STRIP * step, step, lanes, scale);
    if (k / STRIP % 2) m[n] = N(near_strip)(x + n * 2 * STRIP * step, step, lanes, scale), n++;
    if (n >= 4) m[2] = N(middle)(m[2], m[3]);
    if (n >= 2) m[0] = N(middle)(m[0], m[1]);
    return n >= 3 ? N(middle)(m[0], m[2]) : m[0];
}

typedef struct { VEC r, q; } N(sums); /* of differences from a value near the mean, and of their squares */

/* Those of k vectors, 1 <= k <= STRIP. Strips do not wait for each other, so one accumulator is enough. */
INLINE N(sums) N(strip)(const char *x, ptrdiff_t step, int k, int lanes, VEC minus, int centred, const VEC *scale) {
    VEC e = N(fetch)(x, lanes, scale), r = V(set1)(0);
    if (centred) r = e = V(add)(e, minus);
    VEC q = V(mul)(e, e);
    UNROLL4 for (int i = 1; i < k; i++) {
        e = N(fetch)(x + i * step, lanes, scale);
        if (centred) e = V(add)(e, minus), r = V(add)(r, e);
        q = V(fma)(e, e, q);
    }
    return (N(sums)){r, q};
}
INLINE N(sums) N(plus)(N(sums) a, N(sums) b) { return (N(sums)){V(add)(a.r, b.r), V(add)(a.q, b.q)}; }

/* The same for 1 <= k <= BLOCK. */
INLINE N(sums) N(strips)(const char *x, ptrdiff_t step, int k, int lanes, VEC minus, int centred, const VEC *scale) {
    if (k < STRIP) return N(strip)(x, step, k, lanes, minus, centred, scale);
    N(sums) s = N(strip)(x, step, STRIP, lanes, minus, centred, scale);
    int i = STRIP;
    for (; i + STRIP <= k; i += STRIP)
        s = N(plus)(s, N(strip)(x + i * step, step, STRIP, lanes, minus, centred, scale));
    return i < k ? N(plus)(s, N(strip)(x + i * step, step, k - i, lanes, minus, centred, scale)) : s;
}

/* Fetches what lies `ahead` bytes after k vectors, if that is not 0. */
INLINE void N(prefetch_vectors)(const char *x, ptrdiff_t step, int k, ptrdiff_t ahead) {
    for (int i = 0; i < k && ahead; i++) PREFETCH(x, i * step + ahead);
}

/* The same for a lane by itself: of a whole block not the mean of all strips, which one value far away would move. */
INLINE VEC N(near_lane)(const char *x, ptrdiff_t step, int k, int lanes, const VEC *scale) {
    VEC m[BLOCK / STRIP];
    if (k < BLOCK) return N(near)(x, step, k, lanes, scale);
    for (int i = 0; i < BLOCK / STRIP; i++) m[i] = N(near_strip)(x + i * STRIP * step, step, lanes, scale);
    VEC a = V(max)(V(min)(m[0], m[1]), V(min)(m[2], m[3])), b = V(max)(V(min)(m[4], m[5]), V(min)(m[6], m[7]));
    return V(add)(N(middle)(a, b), V(set1)(0)); /* of zeros it is the positive one */
}

/* The statistics of the lanes of k vectors, 1 <= k <= BLOCK, `step` bytes apart. */
INLINE N(lanes)
    N(block)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale, ptrdiff_t ahead) {
    VEC zero = V(set1)(0), m = centred ? N(near_lane)(x, step, k, lanes, scale) : zero;
    N(prefetch_vectors)(x, step, k, ahead);
    N(sums) s = N(strips)(x, step, k, lanes, V(sub)(zero, m), centred, scale);
    N(lanes) found = {zero, zero, s.q};
    if (!centred) return found;
    VEC off = V(mul)(s.r, V(set1)((REAL)1 / (REAL)k));
    N(two_sum)(m, off, &found.hi, &found.lo);
    found.m2 = V(fnma)(s.r, off, s.q);
    return found;
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

/* The instances: of whole blocks in rows, with a constant step, and in columns; and of whatever the rest, the cold path and
 * the last columns need. They write where the result is needed, as copies of structs go by half registers, for which loads
 * of whole ones have to wait. */
static NOINLINE void N(row_block)(const char *x, int centred, ptrdiff_t ahead, N(lanes) *to) {
    *to = centred ? N(block)(x, LANES * SIZE, BLOCK, LANES, 1, NULL, ahead)
                  : N(block)(x, LANES * SIZE, BLOCK, LANES, 0, NULL, ahead);
}
static NOINLINE void N(column_block)(const char *x, ptrdiff_t step, int centred, N(lanes) *to) {
    *to = centred ? N(block)(x, step, BLOCK, LANES, 1, NULL, 0) : N(block)(x, step, BLOCK, LANES, 0, NULL, 0);
}
static NOINLINE void N(any_block)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale,
                                  N(lanes) *to) {
    if (scale || lanes < LANES)
        *to = N(block)(x, step, k, lanes, centred, scale, 0);
    else
        *to = centred ? N(block)(x, step, k, LANES, 1, NULL, 0) : N(block)(x, step, k, LANES, 0, NULL, 0);
}
INLINE void N(block_of)(const char *x, ptrdiff_t step, int k, int lanes, int centred, const VEC *scale, ptrdiff_t ahead,
                        N(lanes) *to) {
    if (scale || lanes < LANES || k < BLOCK)
        N(any_block)(x, step, k, lanes, centred, scale, to);
    else if (step == LANES * SIZE)
        N(row_block)(x, centred, ahead, to);
    else
        N(column_block)(x, step, centred, to);
}

/* The statistics of the lanes of count >= 1 vectors. */
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

/* The scales of `rows` rows or lanes, from their values' sums r and squared sums q about -s->minus; eight at a time in double.
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
        f64_store(s->mean + i, f64_sub(offset, V(widen)(s->minus + i)));
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
    s->mean[0] = offset - s->minus[0];
    s->rstd[0] = (REAL)rstd;
    s->shift[0] = (REAL)(offset * (0 - rstd));
    return N(is_fine)(s, 0);
}

INLINE int N(finish_rows)(N(plan) plan, int rows, REAL *r, REAL *q, N(scales) *s) {
    if (rows == 1) return N(finish_one)(plan, r[0], q[0], s);
    /* The rest are no rows, but fine ones. Four at a time, as they are loaded: a load has to wait for smaller stores. */
    int i = rows;
    for (; i % 4; i++) s->minus[i] = r[i] = 0, q[i] = (REAL)plan.length;
    for (; i % 8; i += 4)
        for (int j = 0; j < 4; j++) s->minus[i + j] = r[i + j] = 0, q[i + j] = (REAL)plan.length;
    return N(finish)(plan, rows, r, q, NULL, s);
}

/* The sums about -minus of n vectors, from the statistics of their lanes. */
INLINE N(sums) N(sums_around)(const N(lanes) *s, VEC minus, VEC n, int centred) {
    if (!centred) return (N(sums)){V(set1)(0), s->m2};
    VEC d = V(add)(V(add)(s->hi, minus), s->lo), r = V(mul)(n, d);
    return (N(sums)){r, V(fma)(r, d, s->m2)};
}

/* The same with the last values of a row, less than a vector, if there are any. */
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

/* Of a row of up to a block a vector that is near to its values. */
INLINE VEC N(row_near)(const char *x, int full, int tail, const VEC *scale) {
    if (full) return N(near)(x, LANES * SIZE, full, LANES, scale);
    REAL a[LANES]; /* no lane may be empty: the others get what near_few would find */
    VEC v = N(fetch)(x, tail, scale);
    V(store)(a, v);
    REAL sum = (a[0] + a[N(second)(tail)]) + (a[tail / 2] + a[N(fourth)(tail)]);
    return V(fill)(v, tail, sum * (REAL)0.25);
}

/* Its sums about -minus. */
INLINE N(sums) N(row_sums)(const char *x, int full, int tail, VEC minus, int centred, const VEC *scale) {
    N(sums) s = {V(set1)(0), V(set1)(0)};
    if (full) s = N(strips)(x, LANES * SIZE, full, LANES, minus, centred, scale);
    return N(with_tail)(s, x + full * LANES * SIZE, tail, minus, centred, scale);
}

/* From each of up to 4 vectors minus a value near the mean. One that is very large or small is not in it: what is
 * subtracted adds to the squares of all others. Of zeros it is the positive one. */
INLINE void N(fold_near)(VEC a, VEC b, VEC c, VEC d, REAL minus[4]) {
    V(middle4)(a, b, c, d, minus);
    for (int j = 0; j < 4; j++) minus[j] = 0 - minus[j] * ((REAL)4 / LANES);
}
INLINE void N(fold_sums)(const N(sums) s[4], REAL r[4], REAL q[4]) {
    V(fold4)(s[0].r, s[1].r, s[2].r, s[3].r, r);
    V(fold4)(s[0].q, s[1].q, s[2].q, s[3].q, q);
}

/* A row's value near the mean, and its sums about that, one after the other: four rows at once would take their lines from
 * memory in an order that processors do not foresee. */
INLINE N(sums) N(row_alone)(const char *x, int full, int tail, int centred, const VEC *scale, REAL *minus) {
    VEC zero = V(set1)(0);
    REAL minus4[4] = {0};
    if (centred) N(fold_near)(N(row_near)(x, full, tail, scale), zero, zero, zero, minus4);
    *minus = minus4[0];
    return N(row_sums)(x, full, tail, V(set1)(*minus), centred, scale);
}
static NOINLINE void N(any_row)(const char *x, int full, int tail, int centred, const VEC *scale, REAL *minus,
                                N(sums) *to) {
    if (scale)
        *to = N(row_alone)(x, full, tail, centred, scale, minus);
    else
        *to = centred ? N(row_alone)(x, full, tail, 1, NULL, minus) : N(row_alone)(x, full, tail, 0, NULL, minus);
}

/* The sums of up to 4 rows of up to a block, about what is found to be near their means. in_registers: they are 4, and
 * plan.full is a constant, so small that all stays there. */
INLINE void N(four_rows)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, int in_registers,
                         const VEC *scale, REAL *minus, REAL *r, REAL *q) {
    VEC zero = V(set1)(0), near[4] = {zero, zero, zero, zero};
    N(sums) s[4];
    int full = (int)plan.full, tail = plan.tail;
    UNROLL4 for (int j = 0; j < 4; j++) {
        const char *row = x + j * stride;
        if (in_registers && centred)
            near[j] = full == 1 ? N(fetch)(row, LANES, NULL) : N(row_near)(row, full, tail, NULL);
    }
    if (in_registers) N(fold_near)(near[0], near[1], near[2], near[3], minus);
    UNROLL4 for (int j = 0; j < 4; j++) {
        const char *row = x + j * stride;
        if (in_registers)
            s[j] = N(row_sums)(row, full, tail, V(set1)(minus[j]), centred, NULL);
        else if (j < rows)
            N(any_row)(row, full, tail, centred, scale, minus + j, s + j);
        else
            s[j] = (N(sums)){zero, zero};
    }
    N(fold_sums)(s, r, q);
}

/* The same of longer ones, from their lanes. */
INLINE void N(merge_lanes)(N(plan) plan, const char *tails, ptrdiff_t stride, int rows, const N(lanes) *lanes,
                           int centred, const VEC *scale, REAL *minus, REAL *r, REAL *q) {
    VEC zero = V(set1)(0), full = V(set1)((REAL)plan.full), near[4] = {zero, zero, zero, zero};
    N(sums) s[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    for (int j = 0; j < rows; j++) near[j] = lanes[j].hi;
    N(fold_near)(near[0], near[1], near[2], near[3], minus);
    for (int j = 0; j < rows; j++) {
        VEC about = V(set1)(minus[j]);
        N(sums) found = N(sums_around)(lanes + j, about, full, centred);
        s[j] = N(with_tail)(found, tails + j * stride, plan.tail, about, centred, scale);
    }
    N(fold_sums)(s, r, q);
}

/* The scale of one row, from its lanes. */
INLINE int N(merge_one)(N(plan) plan, const char *tail, const N(lanes) *lanes, int centred, const VEC *scale,
                        N(scales) *s) {
    REAL r[8], q[8];
    N(merge_lanes)(plan, tail, 0, 1, lanes, centred, scale, s->minus, r, q);
    return N(finish_rows)(plan, 1, r, q, s);
}

static NOINLINE void N(four_long)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred,
                                  const VEC *scale, REAL *minus, REAL *r, REAL *q) {
    N(lanes) lanes[4];
    for (int j = 0; j < rows; j++)
        N(all_blocks)(x + j * stride, LANES * SIZE, plan.full, LANES, centred, scale, lanes + j);
    N(merge_lanes)(plan, x + plan.full * LANES * SIZE, stride, rows, lanes, centred, scale, minus, r, q);
}

/* The scales of up to LANES rows. */
INLINE int N(row_moments)(N(plan) plan, const char *x, ptrdiff_t stride, int rows, int centred, const VEC *scale,
                          N(scales) *s) {
    REAL r[LANES], q[LANES];
    for (int i = 0; i < rows; i += 4) {
        int some = rows - i < 4 ? rows - i : 4;
        if (plan.full > BLOCK)
            N(four_long)(plan, x + i * stride, stride, some, centred, scale, s->minus + i, r + i, q + i);
        else if (some == 4)
            N(four_rows)(plan, x + i * stride, stride, 4, centred, 0, scale, s->minus + i, r + i, q + i);
        else
            N(four_rows)(plan, x + i * stride, stride, some, centred, 0, scale, s->minus + i, r + i, q + i);
    }
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
