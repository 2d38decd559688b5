/* columns.inc.h: rows that lie side by side, a lane each. What is a lane of a row elsewhere are here the vectors of a
 * tile, and one step of the arithmetic is done for all of them before the next, so that memory is read in a few
 * streams. Each row goes through the arithmetic of row_moments, to the bit. */

/* Of a tile `width` wide, how many lanes of vector v are in use. */
INLINE int N(lanes_in)(int width, int v) { return width - v * LANES < LANES ? width - v * LANES : LANES; }

/* Vectors of rows that are measured. */
typedef struct {
    const char *x;
    ptrdiff_t step;             /* from one value of all rows to the next */
    int vectors, used, centred; /* used: rows in each vector */
    const VEC *scale;           /* of each vector; NULL but on the cold path */
    ptrdiff_t full;             /* full, tail: as in a plan */
    int tail;
    N(scales) *s; /* of each vector; minus is what it is measured around */
} N(columns);

INLINE const VEC *N(scale_of)(const N(columns) *c, int v) { return c->scale ? c->scale + v : NULL; }

/* Adds the leaf at `top`, number i, to its tree, where the vectors of one leaf follow those of another. Returns where
 * the next belongs. near: of r alone. */
INLINE N(sums) *N(columns_add)(const N(columns) *c, N(sums) *top, ptrdiff_t i, int near) {
    for (; i & 1; i >>= 1, top -= c->vectors)
        for (int v = 0; v < c->vectors; v++) {
            N(sums) *to = top - c->vectors + v;
            to->r = V(add)(to->r, top[v].r);
            if (!near) to->q = V(add)(to->q, top[v].q);
        }
    return top + c->vectors;
}

/* The sums of one pair of strips of a lane, 1 <= k <= PAIR; `more`: added to what is there. */
INLINE void N(pair_of_columns)(const N(columns) *c, const char *x, int k, int more, N(sums) *to) {
    for (int v = 0; v < c->vectors; v++, x += LANES * SIZE) {
        N(sums) s = N(pair)(x, LANES * c->step, k, c->used, V(load)(c->s[v].minus), c->centred, N(scale_of)(c, v),
                            NOTHING_AHEAD);
        to[v] = more ? N(plus)(to[v], s) : s;
    }
}

/* k is a constant in what is called. */
INLINE void N(columns_pair)(const N(columns) *c, const char *x, int k, int more, N(sums) *to) {
#define CASE(n) \
    case n: N(pair_of_columns)(c, x, n, more, to); break;
    switch (k) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) default : N(pair_of_columns)(c, x, PAIR, more, to);
    }
#undef CASE
}

/* Those of 1 <= k <= BLOCK values, the pairs in two turns as in a block of a row; what follows at `to` is used up. */
INLINE void N(columns_block)(const N(columns) *c, const char *x, int k, N(sums) *to) {
    ptrdiff_t pair = PAIR * LANES * c->step;
    N(sums) *turn[2] = {to, to + c->vectors};
    int i = 0, pairs = k / PAIR;
    for (; i < pairs; i++, x += pair) N(columns_pair)(c, x, PAIR, i > 1, turn[i % 2]);
    if (k % PAIR) N(columns_pair)(c, x, k % PAIR, i > 0, to);
    if (pairs > 1) N(columns_add)(c, to + c->vectors, 1, 0);
}

/* The sums of lane l, at `to`; what follows there is used up. */
INLINE void N(columns_lane)(const N(columns) *c, int l, N(sums) *to) {
    const char *x = c->x + l * c->step;
    ptrdiff_t blocks = c->full / BLOCK, step = LANES * c->step;
    int rest = (int)(c->full % BLOCK);
    N(sums) *top = to;
    for (ptrdiff_t i = 0; i < blocks; i++, x += BLOCK * step) {
        N(columns_block)(c, x, BLOCK, top);
        top = N(columns_add)(c, top, i, 0);
    }
    if (rest) N(columns_block)(c, x, rest, top), top += c->vectors;
    while (top > to + c->vectors) top = N(columns_add)(c, top - c->vectors, 1, 0);
    x += rest * step;
    for (int v = 0; v < c->vectors && l < c->tail; v++) {
        VEC e = N(fetch)(x + v * LANES * SIZE, c->used, N(scale_of)(c, v));
        if (c->centred) e = V(add)(e, V(load)(c->s[v].minus)), to[v].r = V(add)(to[v].r, e);
        to[v].q = V(fma)(e, e, to[v].q);
    }
}

/* Number i of the lanes in an order in which those come together that a vec header folds first. */
INLINE int N(lane_in_order)(int i) {
    int lane = 0;
    for (int bit = 1; bit < LANES; bit *= 2) lane = 2 * lane + (i & bit ? 1 : 0);
    return lane;
}

/* The sum of LANES vectors in the order in which a vec header folds lanes. All from number n on are *rest, or 0. */
INLINE VEC N(fold_columns)(VEC *a, int n, const VEC *rest) {
    VEC others = rest ? *rest : V(set1)(0);
    for (int half = LANES / 2; half; half /= 2, others = V(add)(others, others)) {
        int used = n < half ? n : half, both = n < half ? 0 : n < 2 * half ? n - half : half;
        for (int l = 0; l < both; l++) a[l] = V(add)(a[l], a[l + half]);
        for (int l = both; l < used && rest; l++) a[l] = V(add)(a[l], others);
    }
    return a[0];
}

/* The sums of rows of less than a vector. */
INLINE N(sums) N(few_columns)(const N(columns) *c, int v) {
    VEC r[LANES], q[LANES], minus = V(load)(c->s[v].minus);
    for (int l = 0; l < c->tail; l++) {
        VEC e = N(fetch)(c->x + l * c->step + v * LANES * SIZE, c->used, N(scale_of)(c, v));
        if (c->centred) r[l] = e = V(add)(e, minus);
        q[l] = V(mul)(e, e);
    }
    return (N(sums)){c->centred ? N(fold_columns)(r, c->tail, NULL) : V(set1)(0), N(fold_columns)(q, c->tail, NULL)};
}

/* What lane l is near to, as sums r. */
INLINE void N(lane_near)(const N(columns) *c, int l, N(sums) *to) {
    for (int v = 0; v < c->vectors; v++) {
        const char *x = c->x + l * c->step + v * LANES * SIZE;
        to[v].r = N(near)(x, LANES * c->step, c->full, c->used, N(scale_of)(c, v));
    }
}

/* The same of rows of less than a vector, all lanes, the others filled as row_near fills them. */
INLINE VEC N(few_near)(const N(columns) *c, int v) {
    VEC near[LANES];
    const VEC *scale = N(scale_of)(c, v);
    const char *x = c->x + v * LANES * SIZE;
    for (int l = 0; l < c->tail; l++) near[l] = N(fetch)(x + l * c->step, c->used, scale);
    VEC others = N(sample)(x, c->step, c->tail, 4, c->used, scale);
    return N(fold_columns)(near, c->tail, &others);
}

/* The sums of the rows around s->minus, or, with `near`, of what their lanes are near to. */
INLINE void N(columns_sums)(N(columns) c, int near, N(sums) *sums) {
    N(sums) *top = sums;
    for (int v = 0; v < c.vectors && !c.full; v++)
        if (near)
            sums[v].r = N(few_near)(&c, v);
        else
            sums[v] = N(few_columns)(&c, v);
    for (int i = 0; i < LANES && c.full; i++) {
        if (near)
            N(lane_near)(&c, N(lane_in_order)(i), top);
        else
            N(columns_lane)(&c, N(lane_in_order)(i), top);
        top = N(columns_add)(&c, top, i, near);
    }
}

/* What the rows are measured around. */
INLINE void N(columns_near)(N(columns) c, N(sums) *sums) {
    VEC zero = V(set1)(0);
    if (c.centred) N(columns_sums)(c, 1, sums);
    for (int v = 0; v < c.vectors; v++)
        V(store)(c.s[v].minus, c.centred ? V(sub)(zero, V(mul)(sums[v].r, V(set1)((REAL)1 / LANES))) : zero);
}

static NOINLINE void N(any_columns)(N(columns) c, int near, N(sums) *sums) {
    if (c.scale || c.used < LANES) {
        if (near) N(columns_near)(c, sums);
        N(columns_sums)(c, 0, sums);
    } else {
        c.used = LANES, c.scale = NULL;
        if (near) N(columns_near)(c, sums);
        if (c.centred)
            c.centred = 1, N(columns_sums)(c, 0, sums);
        else
            c.centred = 0, N(columns_sums)(c, 0, sums);
    }
}

/* The scales of one vector of rows. */
INLINE int N(finish_columns)(N(plan) plan, const N(columns) *c, N(sums) sums, const double *k, REAL *r, REAL *q) {
    V(store)(r, sums.r), V(store)(q, sums.q);
    for (int l = c->used; l < LANES; l++)
        c->s->minus[l] = r[l] = 0, q[l] = (REAL)plan.length; /* no row, but a fine one */
    return N(finish)(plan, LANES, r, q, k, c->s);
}

/* Once more around their means, for those rows of a vector that are far from what they were measured around; the others
 * come out as before. */
static NOINLINE int N(measure_far_columns)(N(plan) plan, N(columns) c, const double *k, REAL *r, REAL *q,
                                           N(sums) *sums) {
    int far = 0, fine = 1;
    for (int l = 0; l < c.used; l++)
        if (N(is_far)(plan, r[l], q[l])) c.s->minus[l] = (REAL)(0 - c.s->mean[l]), far = 1;
    if (!far) return 0;
    N(any_columns)(c, 0, sums);
    N(finish_columns)(plan, &c, sums[0], k, r, q);
    for (int l = 0; l < c.used; l++) fine &= N(is_fine)(c.s, l);
    return fine;
}

/* How many vectors of columns can be measured together: there is room for their trees, of the lanes and of each lane's
 * blocks, and for the turns of a block. */
INLINE int N(most_columns)(ptrdiff_t length) {
    int levels = 6;
    for (ptrdiff_t blocks = length / LANES / BLOCK; blocks; blocks /= 2) levels++;
    return TREES / levels < TILE ? TREES / levels : TILE;
}

/* The scales of some vectors of rows; on the cold path k is what each was scaled by. */
static NOINLINE int N(column_moments)(N(plan) plan, N(columns) c, const double (*k)[LANES]) {
    N(sums) sums[TREES];
    int fine = 1;
    c.full = plan.full, c.tail = plan.tail;
    N(any_columns)(c, 1, sums);
    for (int v = 0; v < c.vectors; v++) {
        REAL r[LANES], q[LANES];
        N(columns) one = c;
        one.x += v * LANES * SIZE, one.vectors = 1, one.scale = N(scale_of)(&c, v), one.s += v;
        fine &= N(finish_columns)(plan, &one, sums[v], k ? k[v] : NULL, r, q) ||
                N(measure_far_columns)(plan, one, k ? k[v] : NULL, r, q, sums + c.vectors);
    }
    return fine;
}

/* The values of a tile reach over as many pages as a row is long, which no processor foresees. */
INLINE void N(prefetch_tile_row)(const char *x, int width) {
    for (int at = 0; at < width * SIZE; at += FASTLN_LINE) PREFETCH(x, at);
}

/* The weights and biases of LANES rows from number `first` on, if there are so many. */
INLINE void N(load_spread)(const fastln_rows *tile, int first, int width, VEC *w, VEC *b) {
    REAL weights[LANES] = {0}, biases[LANES] = {0};
    for (int l = 0; l < LANES && first + l < width; l++) {
        weights[l] = N(weight_at)(fastln_from(tile->weight, (first + l) * tile->stride.weight));
        biases[l] = N(bias_at)(fastln_from(tile->bias, (first + l) * tile->stride.bias));
    }
    *w = V(load)(weights), *b = V(load)(biases);
}

/* One value of every row of a tile after the other, so memory is written in order. */
INLINE void N(apply_tile)(const fastln_task *task, const fastln_rows *tile, int width, int with_x, const N(scales) *s,
                          int affine, int centred, const VEC *scale) {
    const char *x = tile->x;
    char *y = tile->y;
    int full = width / LANES, tail = width % LANES, fetch = N(array_size)(task) > N(least_fetched)();
    VEC w = V(set1)(0), b = w, ws[TILE], bs[TILE];
#define APPLY(v, n)                                                                                                 \
    N(transform)(N(fetch)(x + (v) * LANES * SIZE, n, scale ? scale + (v) : NULL), V(load)(s[v].minus),              \
                 V(load)(s[v].rstd), V(load)(s[v].shift), affine & SPREAD ? ws[v] : w, affine & SPREAD ? bs[v] : b, \
                 affine, centred)
    for (int v = 0; affine & SPREAD && v * LANES < width; v++) N(load_spread)(tile, v * LANES, width, ws + v, bs + v);
    for (ptrdiff_t i = 0; i < task->length; i++, x += task->x_step, y += task->y_step) {
        int more = fetch && i + TILE_AHEAD < task->length;
        ptrdiff_t ahead = more ? TILE_AHEAD * task->y_step : 0;
        if (affine & WEIGHT) w = V(set1)(((const REAL *)tile->weight)[i]);
        if (affine & BIAS) b = V(set1)(((const REAL *)tile->bias)[i]);
        if (more && with_x) N(prefetch_tile_row)(x + TILE_AHEAD * task->x_step, width);
        UNROLL4 for (int v = 0; v < full; v++) {
            PREFETCH(y, v * LANES * SIZE + ahead);
            E(store)((ELEMENT *)y + v * LANES, APPLY(v, LANES));
        }
        if (!tail) continue;
        PREFETCH(y, full * LANES * SIZE + ahead);
        E(store_n)((ELEMENT *)y + full * LANES, APPLY(full, tail), tail);
    }
#undef APPLY
}

/* With one weight for each value, the same for all rows; or with one for each row. */
static NOINLINE void N(write_tile)(const fastln_task *task, const fastln_rows *tile, int width, int with_x,
                                   const N(scales) *s, int centred) {
    if (task->form != FASTLN_EACH) {
#define DO(affine) N(apply_tile)(task, tile, width, with_x, s, affine, centred, NULL)
        FOR_SPREAD(task)
#undef DO
    } else if (centred) {
#define DO(affine) N(apply_tile)(task, tile, width, with_x, s, affine, 1, NULL)
        FOR_AFFINE(task)
#undef DO
    } else {
#define DO(affine) N(apply_tile)(task, tile, width, with_x, s, affine, 0, NULL)
        FOR_AFFINE(task)
#undef DO
    }
}

/* The same on the cold path: x is scaled. */
static NOINLINE void N(write_cold_tile)(const fastln_task *task, const fastln_rows *tile, int width, const N(scales) *s,
                                        int centred, const VEC *scale, double (*k)[LANES]) {
    int affine = task->form == FASTLN_EACH ? N(affine)(task) : task->form == FASTLN_ADA ? SPREAD | ADA : SPREAD;
    N(apply_tile)(task, tile, width, 0, s, affine, centred, scale);
    for (int c = 0; c < width; c++)
        if (k[c / LANES][c % LANES] != k[c / LANES][c % LANES])
            N(write_nan)(tile->y + c * SIZE, task->y_step, task->length);
}

/* The last vector by itself, if it has lanes that are no rows. */
INLINE int N(tile_moments)(const fastln_task *task, const char *x, int width, int centred, const VEC *scale,
                           const double (*k)[LANES], N(scales) *s) {
    N(plan) plan = N(plan_of)(task, 1);
    int full = width / LANES, tail = width % LANES, fine = 1;
    N(columns) c = {
        .x = x, .step = task->x_step, .vectors = full, .used = LANES, .centred = centred, .scale = scale, .s = s};
    if (full) fine &= N(column_moments)(plan, c, k);
    if (!tail) return fine;
    c.x += full * LANES * SIZE, c.vectors = 1, c.used = tail, c.scale = N(scale_of)(&c, full), c.s += full;
    return fine & N(column_moments)(plan, c, k ? k + full : NULL);
}

/* A tile with rows for the cold path: these are scaled by a power of two, the others by 1. */
static NOINLINE void N(cold_tile)(const fastln_task *task, const fastln_rows *tile, int width, N(scales) *s,
                                  int centred) {
    double k[TILE][LANES];
    VEC scale[TILE] = {V(set1)(1)}; /* all that is used gets a value below, which compilers do not see */
    for (int v = 0; v * LANES < width; v++) {
        int lanes = N(lanes_in)(width, v);
        REAL tops[LANES], powers[LANES];
        V(store)(tops, N(largest)(V(set1)(0), tile->x + v * LANES * SIZE, task->x_step, task->length, lanes));
        for (int l = 0; l < LANES; l++)
            powers[l] = (REAL)(k[v][l] = l >= lanes || N(is_fine)(s + v, l) ? 1 : N(power)(tops[l], task->eps));
        scale[v] = V(load)(powers);
    }
    N(tile_moments)(task, tile->x, width, centred, scale, (const double (*)[LANES])k, s);
    for (int v = 0; v * LANES < width; v++)
        N(give_cold_stats)(task, tile, v * LANES, N(lanes_in)(width, v), k[v], s + v);
    if (task->y) N(write_cold_tile)(task, tile, width, s, centred, scale, k);
}

/* In tiles of about the same width. */
INLINE void N(do_columns)(const fastln_task *task, const fastln_rows *rows, int centred) {
    N(scales) s[TILE];
    ptrdiff_t most = N(most_columns)(task->length) * LANES, tiles = fastln_divide_up(rows->count, most);
    ptrdiff_t each = fastln_divide_up(fastln_divide_up(rows->count, tiles), LANES) * LANES;
    int with_x = task->length * each * SIZE > CACHED;
    for (ptrdiff_t i = 0; i < rows->count; i += each) {
        fastln_rows tile = fastln_rows_at(*rows, i, rows->stride);
        int width = (int)fastln_least(rows->count - i, each);
        if (!N(tile_moments)(task, tile.x, width, centred, NULL, NULL, s)) {
            N(cold_tile)(task, &tile, width, s, centred);
            continue;
        }
        for (int v = 0; v * LANES < width; v++) N(give_stats)(task, &tile, v * LANES, N(lanes_in)(width, v), s + v);
        if (task->y) N(write_tile)(task, &tile, width, with_x, s, centred);
    }
}

INLINE void N(do_given_columns)(const fastln_task *task, const fastln_rows *rows) {
    N(scales) s[TILE];
    for (ptrdiff_t i = 0; i < rows->count; i += TILE * LANES) {
        fastln_rows tile = fastln_rows_at(*rows, i, rows->stride);
        int width = (int)fastln_least(rows->count - i, TILE * LANES), fine = 1;
        double k[TILE][LANES];
        VEC scale[TILE] = {V(set1)(1)};
        for (int v = 0; v * LANES < width; v++) {
            REAL powers[LANES] = {0};
            fine &= N(given)(&tile, v * LANES, N(lanes_in)(width, v), k[v], s + v);
            for (int l = 0; l < N(lanes_in)(width, v); l++) powers[l] = (REAL)k[v][l];
            for (int l = N(lanes_in)(width, v); l < LANES; l++) s[v].minus[l] = s[v].rstd[l] = s[v].shift[l] = 0;
            scale[v] = V(load)(powers);
        }
        if (fine)
            N(write_tile)(task, &tile, width, 1, s, 1);
        else
            N(write_cold_tile)(task, &tile, width, s, 1, scale, k);
    }
}
