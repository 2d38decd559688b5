/* columns.inc.h: rows that lie side by side, a lane each. */

#define COLUMN_DEPTH 16 /* of the trees of columns, which are many at once: less than 2^16 blocks of each lane */

/* Of a tile `width` wide, how many lanes of vector v are in use. */
INLINE int N(lanes_in)(int width, int v) { return width - v * LANES < LANES ? width - v * LANES : LANES; }

/* The sum of `size` vectors in the order in which a vec header folds lanes. All from number n on are `rest`. */
INLINE VEC N(fold_columns)(VEC *a, int size, int n, VEC rest) {
    for (int half = size / 2; half; half /= 2, rest = V(add)(rest, rest))
        UNROLL4 for (int l = 0; l < half && l < n; l++) a[l] = V(add)(a[l], l + half < n ? a[l + half] : rest);
    return a[0];
}

/* Up to LANES rows that lie side by side: what is a lane of a row is a vector of them. */
typedef struct {
    const char *x;
    ptrdiff_t step;        /* from one value of all to the next */
    int used, centred;     /* used: how many rows */
    const VEC *scale;      /* NULL but on the cold path */
    ptrdiff_t ahead, full; /* ahead: bytes to what is fetched meanwhile, or 0; full, tail: as in a plan */
    int tail, few;         /* few: whether full < STRIP; known to compilers */
    const N(sums) *lanes;  /* of rows of more than a block, else NULL */
    VEC minus;             /* what they are measured around */
} N(columns);

/* The sums of the lanes of long rows, all at once, so that memory is read in order; what comes next is fetched. */
static NOINLINE void N(long_lanes)(const N(columns) *c, N(sums) lanes[LANES]) {
    N(sums) left[LANES][COLUMN_DEPTH], rest = {V(set1)(0), V(set1)(0)};
    N(tree) trees[LANES];
    const char *x = c->x;
    ptrdiff_t blocks = c->full / BLOCK, step = LANES * c->step;
    int rest_n = (int)(c->full % BLOCK);
    for (int l = 0; l < LANES; l++) trees[l] = (N(tree)){left[l], 0};
    for (ptrdiff_t i = 0; i < blocks; i++, x += BLOCK * step)
        for (int l = 0; l < LANES; l++) {
            const char *lane = x + l * c->step;
            N(prefetch_vectors)(lane, step, BLOCK, i + 1 < blocks ? BLOCK * step : 0);
            *N(tree_next)(trees + l) = c->scale || c->used < LANES
                                           ? N(strips)(lane, step, BLOCK, c->used, c->minus, c->centred, c->scale)
                                           : N(strips)(lane, step, BLOCK, LANES, c->minus, c->centred, NULL);
            N(tree_add)(trees + l, i);
        }
    for (int l = 0; l < LANES; l++) {
        if (rest_n) rest = N(strips)(x + l * c->step, step, rest_n, c->used, c->minus, c->centred, c->scale);
        lanes[l] = N(tree_top)(trees + l, rest);
    }
}

/* What the rows are measured around: minus that vector. */
INLINE VEC N(columns_near)(const N(columns) *c) {
    VEC near[LANES], zero = V(set1)(0), others = zero;
    int n = c->full ? LANES : c->tail;
    for (int l = 0; l < n; l++) {
        const char *x = c->x + l * c->step;
        near[l] = c->full ? N(near)(x, LANES * c->step, c->full, c->used, c->scale) : N(fetch)(x, c->used, c->scale);
    }
    if (!c->full) /* what row_near fills its lanes with */
        others = N(mean4)(c->x, c->step, fastln_sampled(n, 0), fastln_sampled(n, 1), fastln_sampled(n, 2),
                          fastln_sampled(n, 3), c->used, c->scale);
    return V(sub)(zero, V(mul)(N(fold_columns)(near, LANES, n, others), V(set1)((REAL)1 / LANES)));
}

/* The sums of lane l, with a value of the tail. */
INLINE N(sums) N(lane_sums)(const N(columns) *c, int l) {
    const char *x = c->x + l * c->step;
    ptrdiff_t step = LANES * c->step;
    VEC zero = V(set1)(0);
    N(sums) s = {zero, zero};
    if (c->lanes) {
        s = c->lanes[l];
    } else if (c->full) {
        N(prefetch_vectors)(x, step, (int)c->full + (l < c->tail), c->ahead);
        s = c->few ? N(strip)(x, step, (int)c->full, c->used, c->minus, c->centred, c->scale)
                   : N(strips)(x, step, (int)c->full, c->used, c->minus, c->centred, c->scale);
    }
    if (l >= c->tail) return s;
    VEC e = N(fetch)(x + c->full * step, c->used, c->scale);
    if (c->centred) e = V(add)(e, c->minus), s.r = V(add)(s.r, e);
    s.q = V(fma)(e, e, s.q);
    return s;
}

/* The sums of the rows. Each goes through the arithmetic of row_moments, to the bit; lanes that a vec header folds first come
 * together. */
INLINE void N(columns_sums)(N(plan) plan, const N(columns) *c, REAL *sums, REAL *squares) {
    VEC r[LANES / 2], q[LANES / 2], zero = V(set1)(0);
    int n = c->full || c->tail > LANES / 2 ? LANES / 2 : c->tail; /* pairs of lanes that have values */
    for (int l = 0; l < n; l++) {
        N(sums) s = N(plus)(N(lane_sums)(c, l), N(lane_sums)(c, l + LANES / 2));
        r[l] = s.r, q[l] = s.q;
    }
    V(store)(sums, N(fold_columns)(r, LANES / 2, n, zero));
    V(store)(squares, N(fold_columns)(q, LANES / 2, n, zero));
    for (int l = c->used; l < LANES; l++) sums[l] = 0, squares[l] = (REAL)plan.length; /* no row, but a fine one */
}

static NOINLINE void N(any_columns)(N(plan) plan, const N(columns) *columns, REAL *sums, REAL *squares) {
    N(columns) c = *columns;
    N(sums) lanes[LANES];
    if (c.full > BLOCK) {
        if (c.full >> COLUMN_DEPTH < BLOCK)
            N(long_lanes)(&c, lanes);
        else
            for (int l = 0; l < LANES; l++)
                lanes[l] = N(all_blocks)(c.x + l * c.step, LANES * c.step, c.full, c.used, c.minus, c.centred, c.scale);
        c.lanes = lanes;
    }
    N(columns_sums)(plan, &c, sums, squares);
}

/* Once more around their means, for those rows that are far from what they were measured around; the others stay as they were. */
static NOINLINE int N(measure_far_columns)(N(plan) plan, N(columns) *c, REAL *r, REAL *q, const double *k,
                                           N(scales) *s) {
    int far = 0;
    for (int l = 0; l < c->used; l++)
        if (N(is_far)(plan, r[l], q[l])) s->minus[l] = (REAL)(0 - s->mean[l]), far = 1;
    if (!far) return 0;
    c->minus = V(load)(s->minus);
    N(any_columns)(plan, c, r, q);
    N(finish)(plan, LANES, r, q, k, s);
    for (int l = 0; l < c->used; l++)
        if (!N(is_fine)(s, l)) return 0;
    return 1;
}

/* The scales of the rows; `hot`: of up to a block, which compilers see. */
INLINE int N(columns_of)(N(plan) plan, N(columns) c, int hot, const double *k, N(scales) *s) {
    REAL r[LANES], q[LANES];
    if (c.centred) c.minus = N(columns_near)(&c);
    V(store)(s->minus, c.minus);
    for (int l = c.used; l < LANES; l++) s->minus[l] = 0;
    if (hot)
        N(columns_sums)(plan, &c, r, q);
    else
        N(any_columns)(plan, &c, r, q);
    return N(finish)(plan, LANES, r, q, k, s) || N(measure_far_columns)(plan, &c, r, q, k, s);
}

static NOINLINE int N(column_moments)(N(plan) plan, const char *x, ptrdiff_t step, int used, int centred,
                                      const VEC *scale, const double *k, ptrdiff_t ahead, N(scales) *s) {
#define COLUMNS(used, centred, full, few, scale, hot)                                                               \
    N(columns_of)(plan, (N(columns)){x, step, used, centred, scale, ahead, full, plan.tail, few, NULL, V(set1)(0)}, \
                  hot, k, s)
    if (plan.full > BLOCK || scale || used < LANES) return COLUMNS(used, centred, plan.full, 0, scale, 0);
    if (!centred) return COLUMNS(LANES, 0, plan.full, 0, NULL, 1);
    if (!plan.full) return COLUMNS(LANES, 1, 0, 0, NULL, 1);
    return plan.full < STRIP ? COLUMNS(LANES, 1, plan.full, 1, NULL, 1) : COLUMNS(LANES, 1, plan.full, 0, NULL, 1);
#undef COLUMNS
}

/* The values of a tile reach over as many pages as a row is long, which no processor foresees. */
INLINE void N(prefetch_tile_row)(const char *x, int width) {
    for (int at = 0; at < width * SIZE; at += FASTLN_LINE) PREFETCH(x, at);
}

/* While value number i of the rows of a tile is written at y, what is written there soon is fetched, and, if `with_x`, what
 * is read. */
INLINE void N(prefetch_meanwhile)(const fastln_task *task, const char *x, const char *y, ptrdiff_t i, int width,
                                  int with_x) {
    if (i + TILE_AHEAD >= task->length) return;
    if (with_x) N(prefetch_tile_row)(x + TILE_AHEAD * task->x_step, width);
    N(prefetch_tile_row)(y + TILE_AHEAD * task->y_step, width);
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
    int full = width / LANES, tail = width % LANES, far = N(array_size)(task) > NEAR;
    VEC w = V(set1)(0), b = w, ws[TILE] = {w}, bs[TILE] = {w}; /* what is used of the latter gets a value */
    for (int v = 0; affine & SPREAD && v * LANES < width; v++) N(load_spread)(tile, v * LANES, width, ws + v, bs + v);
    for (ptrdiff_t i = 0; i < task->length; i++, x += task->x_step, y += task->y_step) {
        if (affine & WEIGHT) w = V(set1)(((const REAL *)tile->weight)[i]);
        if (affine & BIAS) b = V(set1)(((const REAL *)tile->bias)[i]);
        if (far) N(prefetch_meanwhile)(task, x, y, i, width, with_x);
        for (int v = 0; v <= full; v++) {
            int lanes = v < full ? LANES : tail, at = v * LANES;
            if (lanes == 0) continue;
            VEC t = N(fetch)(x + at * SIZE, lanes, scale ? scale + v : NULL);
            t = N(transform)(t, V(load)(s[v].minus), V(load)(s[v].rstd), V(load)(s[v].shift),
                             affine & SPREAD ? ws[v] : w, affine & SPREAD ? bs[v] : b, affine, centred);
            if (lanes == LANES)
                E(store)((ELEMENT *)y + at, t);
            else
                E(store_n)((ELEMENT *)y + at, t, lanes);
        }
    }
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

INLINE int N(tile_moments)(const fastln_task *task, const char *x, int width, int centred, const VEC *scale,
                           double (*k)[LANES], ptrdiff_t ahead, N(scales) *s) {
    N(plan) plan = N(plan_of)(task, 1);
    int fine = 1;
    for (int v = 0; v * LANES < width; v++)
        fine &= N(column_moments)(plan, x + v * LANES * SIZE, task->x_step, N(lanes_in)(width, v), centred,
                                  scale ? scale + v : NULL, k ? k[v] : NULL, ahead, s + v);
    return fine;
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
    N(tile_moments)(task, tile->x, width, centred, scale, k, 0, s);
    for (int v = 0; v * LANES < width; v++)
        N(give_cold_stats)(task, tile, v * LANES, N(lanes_in)(width, v), k[v], s + v);
    if (task->y) N(write_cold_tile)(task, tile, width, s, centred, scale, k);
}

/* Its rows reach over as many pages as they have values. */
INLINE void N(prefetch_tile)(const fastln_task *task, const fastln_rows *tile, int width) {
    for (ptrdiff_t i = 0; i < task->length; i++) N(prefetch_tile_row)(tile->x + i * task->x_step, width);
}

/* While columns are measured what comes next is fetched: those to their right, or, if nothing is written in between, the tile
 * to its right. Not of those that do not fit the cache. */
INLINE void N(do_columns)(const fastln_task *task, const fastln_rows *rows, int centred) {
    N(scales) s[TILE];
    int is_long = task->length / LANES > BLOCK, fetch = N(array_size)(task) > NEAR && !is_long;
    int most = MEASURED_TILE * LANES, next = task->y ? LANES : most;
    for (ptrdiff_t i = 0; i < rows->count; i += most) {
        fastln_rows tile = fastln_rows_at(*rows, i, rows->stride);
        int width = (int)fastln_least(rows->count - i, most);
        ptrdiff_t ahead = fetch && i + width < rows->count ? next * SIZE : 0;
        if (fetch && i == 0) N(prefetch_tile)(task, &tile, next < width ? next : width);
        if (!N(tile_moments)(task, tile.x, width, centred, NULL, NULL, ahead, s)) {
            N(cold_tile)(task, &tile, width, s, centred);
            continue;
        }
        for (int v = 0; v * LANES < width; v++) N(give_stats)(task, &tile, v * LANES, N(lanes_in)(width, v), s + v);
        if (task->y) N(write_tile)(task, &tile, width, is_long, s, centred);
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
