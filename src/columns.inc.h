/* columns.inc.h: rows that lie side by side, a lane each. */

#define COLUMN_DEPTH 16 /* of the trees of columns, which are many at once: less than 2^16 blocks of each lane */

/* Of a tile `width` wide, how many lanes of vector v are in use. */
INLINE int N(lanes_in)(int width, int v) { return width - v * LANES < LANES ? width - v * LANES : LANES; }

/* The sum of `size` vectors in the order in which a vec header folds the lanes of one. All from number n on are 0. */
INLINE VEC N(fold_columns)(VEC *a, int size, int n) {
    for (int half = size / 2; half; half /= 2)
        for (int i = 0; i < half && i + half < n; i++) a[i] = V(add)(a[i], a[i + half]);
    return a[0];
}

/* The lanes of long rows that lie side by side, all at once, so that memory is read in order; what comes next is fetched. */
static NOINLINE void N(long_lanes)(const char *x, ptrdiff_t step, ptrdiff_t full, int used, int centred,
                                   const VEC *scale, N(lanes) lanes[LANES]) {
    N(lanes) left[LANES][COLUMN_DEPTH], rest = {V(set1)(0), V(set1)(0), V(set1)(0)};
    N(tree) trees[LANES];
    ptrdiff_t blocks = full / BLOCK;
    int rest_n = (int)(full % BLOCK);
    for (int l = 0; l < LANES; l++) trees[l] = (N(tree)){left[l], 0};
    for (ptrdiff_t i = 0; i < blocks; i++, x += BLOCK * LANES * step)
        for (int l = 0; l < LANES; l++) {
            for (int v = 0; v < BLOCK && i + 1 < blocks; v++) PREFETCH(x, ((LANES + l) * BLOCK + v) * step);
            N(block_of)(x + l * step, LANES * step, BLOCK, used, centred, scale, 0, N(tree_next)(trees + l));
            N(tree_add)(trees + l, i, BLOCK, centred);
        }
    for (int l = 0; l < LANES; l++) {
        if (rest_n) N(block_of)(x + l * step, LANES * step, rest_n, used, centred, scale, 0, &rest);
        lanes[l] = N(tree_top)(trees + l, blocks, BLOCK, rest, rest_n, centred);
    }
}

/* The lanes of rows that lie side by side: what is a lane of a row is a vector of them. */
INLINE void N(column_lanes)(const char *x, ptrdiff_t step, ptrdiff_t full, int used, int centred, const VEC *scale,
                            N(lanes) lanes[LANES]) {
    if (full > BLOCK && full >> COLUMN_DEPTH < BLOCK) {
        N(long_lanes)(x, step, full, used, centred, scale, lanes);
        return;
    }
    for (int l = 0; l < LANES; l++)
        if (full <= GROUP && used == LANES && !scale)
            lanes[l] = N(group)(x + l * step, LANES * step, (int)full, LANES, centred, NULL);
        else
            N(vectors)(x + l * step, LANES * step, full, used, centred, scale, lanes + l);
}

/* The same for less than LANES of them, with nothing between one value of all and the next: as many vectors hold all their
 * lanes, in the order of memory. */
INLINE void N(narrow_lanes)(const char *x, ptrdiff_t step, ptrdiff_t full, int used, int centred,
                            N(lanes) lanes[LANES]) {
    REAL hi[LANES * LANES], lo[LANES * LANES], m2[LANES * LANES];
    for (int v = 0; v < used; v++) {
        N(lanes) s;
        N(vectors)(x + v * LANES * SIZE, LANES * step, full, LANES, centred, NULL, &s);
        V(store)(hi + v * LANES, s.hi), V(store)(lo + v * LANES, s.lo), V(store)(m2 + v * LANES, s.m2);
    }
    for (int l = 0; l < LANES; l++)
        lanes[l] = (N(lanes)){V(load)(hi + l * used), V(load)(lo + l * used), V(load)(m2 + l * used)};
}

/* The scales of up to LANES rows that lie side by side, their values `step` apart. Each goes through the arithmetic of
 * row_moments and merge_rows, to the bit. */
INLINE int N(columns_of)(N(plan) plan, const char *x, ptrdiff_t step, int used, int centred, const VEC *scale,
                         const double *k, N(scales) *s) {
    VEC zero = V(set1)(0), p = zero, full = V(set1)((REAL)plan.full), r[LANES], q[LANES];
    N(lanes) lanes[LANES];
    const char *tail = x + plan.full * LANES * step;
    int n = plan.full ? LANES : plan.tail; /* sums that are not 0 */
    if (plan.full && used < LANES && step == used * SIZE && !scale)
        N(narrow_lanes)(x, step, plan.full, used, centred, lanes);
    else if (plan.full)
        N(column_lanes)(x, step, plan.full, used, centred, scale, lanes);
    if (centred) {
        for (int l = 0, m = LANES / 2; l < LANES / 2; l++, m++)
            r[l] = plan.full ? V(add)(lanes[l].hi, lanes[m].hi)
                             : V(add)(N(fetch)(x + (l < plan.tail ? l : 0) * step, used, scale),
                                      N(fetch)(x + (m < plan.tail ? m : 0) * step, used, scale));
        p = V(mul)(N(fold_columns)(r, LANES / 2, LANES / 2), V(set1)((REAL)1 / LANES));
    }
    for (int l = 0; l < n; l++) {
        VEC sum = zero, squares = plan.full ? lanes[l].m2 : zero;
        if (plan.full && centred) {
            VEC d = V(add)(V(sub)(lanes[l].hi, p), lanes[l].lo);
            sum = V(mul)(full, d);
            squares = V(fma)(sum, d, squares);
        }
        if (l < plan.tail) {
            VEC e = V(sub)(N(fetch)(tail + l * step, used, scale), p);
            if (centred) sum = V(add)(sum, e);
            squares = V(fma)(e, e, squares);
        } else if (plan.tail) {
            sum = V(add)(sum, zero); /* makes 0 of -0, as there */
        }
        r[l] = sum, q[l] = squares;
    }
    REAL sums[LANES], squares[LANES];
    V(store)(s->p, p), V(store)(sums, N(fold_columns)(r, LANES, n));
    V(store)(squares, N(fold_columns)(q, LANES, n));
    for (int l = used; l < LANES; l++)
        s->p[l] = sums[l] = 0, squares[l] = (REAL)plan.length; /* no row, but a fine one */
    return N(finish)(plan, LANES, sums, squares, k, s);
}

static NOINLINE int N(column_moments)(N(plan) plan, const char *x, ptrdiff_t step, int used, int centred,
                                      const VEC *scale, const double *k, N(scales) *s) {
    if (scale || used < LANES) return N(columns_of)(plan, x, step, used, centred, scale, k, s);
    return centred ? N(columns_of)(plan, x, step, LANES, 1, NULL, NULL, s)
                   : N(columns_of)(plan, x, step, LANES, 0, NULL, NULL, s);
}

/* The values of a tile reach over as many pages as a row is long, which no processor foresees. */
INLINE void N(prefetch_tile_row)(const char *x, int width) {
    for (int at = 0; at < width * SIZE; at += FASTLN_LINE) PREFETCH(x, at);
}

/* While value number i of the rows of a tile is written at y, the tile to its right is fetched, `next` columns wide, or, if
 * that is negative, what comes next of this one; and what of y is written soon. */
INLINE void N(prefetch_meanwhile)(const fastln_task *task, const char *x, const char *y, ptrdiff_t i, int width,
                                  int next) {
    if (next >= 0)
        N(prefetch_tile_row)(x + width * SIZE, next);
    else if (i + TILE_AHEAD < task->length)
        N(prefetch_tile_row)(x + TILE_AHEAD * task->x_step, width);
    if (i + TILE_AHEAD < task->length) N(prefetch_tile_row)(y + TILE_AHEAD * task->y_step, width);
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
INLINE void N(apply_tile)(const fastln_task *task, const fastln_rows *tile, int width, int next, const N(scales) *s,
                          int affine, int centred, const VEC *scale) {
    const char *x = tile->x;
    char *y = tile->y;
    int full = width / LANES, tail = width % LANES, far = N(array_size)(task) > NEAR;
    VEC w = V(set1)(0), b = w, ws[TILE] = {w}, bs[TILE] = {w}; /* what is used of the latter gets a value */
    for (int v = 0; affine & SPREAD && v * LANES < width; v++) N(load_spread)(tile, v * LANES, width, ws + v, bs + v);
    for (ptrdiff_t i = 0; i < task->length; i++, x += task->x_step, y += task->y_step) {
        if (affine & WEIGHT) w = V(set1)(((const REAL *)tile->weight)[i]);
        if (affine & BIAS) b = V(set1)(((const REAL *)tile->bias)[i]);
        if (far) N(prefetch_meanwhile)(task, x, y, i, width, next);
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
static NOINLINE void N(write_tile)(const fastln_task *task, const fastln_rows *tile, int width, int next,
                                   const N(scales) *s, int centred) {
    if (task->form != FASTLN_EACH) {
#define DO(affine) N(apply_tile)(task, tile, width, next, s, affine, centred, NULL)
        FOR_SPREAD(task)
#undef DO
    } else if (centred) {
#define DO(affine) N(apply_tile)(task, tile, width, next, s, affine, 1, NULL)
        FOR_AFFINE(task)
#undef DO
    } else {
#define DO(affine) N(apply_tile)(task, tile, width, next, s, affine, 0, NULL)
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
                           double (*k)[LANES], N(scales) *s) {
    N(plan) plan = N(plan_of)(task, 1);
    int fine = 1;
    for (int v = 0; v * LANES < width; v++)
        fine &= N(column_moments)(plan, x + v * LANES * SIZE, task->x_step, N(lanes_in)(width, v), centred,
                                  scale ? scale + v : NULL, k ? k[v] : NULL, s + v);
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
    N(tile_moments)(task, tile->x, width, centred, scale, k, s);
    for (int v = 0; v * LANES < width; v++)
        N(give_cold_stats)(task, tile, v * LANES, N(lanes_in)(width, v), k[v], s + v);
    if (task->y) N(write_cold_tile)(task, tile, width, s, centred, scale, k);
}

INLINE int N(tile_width)(ptrdiff_t left) { return left < TILE * LANES ? (int)left : TILE * LANES; }

/* Its rows reach over as many pages as they have values. */
INLINE void N(prefetch_tile)(const fastln_task *task, const fastln_rows *tile, int width) {
    for (ptrdiff_t i = 0; i < task->length; i++) N(prefetch_tile_row)(tile->x + i * task->x_step, width);
}

INLINE void N(do_columns)(const fastln_task *task, const fastln_rows *rows, int centred) {
    N(scales) s[TILE];
    int far = N(array_size)(task) > NEAR;
    for (ptrdiff_t i = 0; i < rows->count; i += TILE * LANES) {
        fastln_rows tile = fastln_rows_at(*rows, i, rows->stride);
        int width = N(tile_width)(rows->count - i), next = N(tile_width)(rows->count - i - width);
        if (far && (i == 0 || !task->y))
            N(prefetch_tile)(task, &tile, width); /* the others while the one before is written */
        if (!N(tile_moments)(task, tile.x, width, centred, NULL, NULL, s)) {
            N(cold_tile)(task, &tile, width, s, centred);
            continue;
        }
        for (int v = 0; v * LANES < width; v++) N(give_stats)(task, &tile, v * LANES, N(lanes_in)(width, v), s + v);
        if (task->y) N(write_tile)(task, &tile, width, next, s, centred);
    }
}

INLINE void N(do_given_columns)(const fastln_task *task, const fastln_rows *rows) {
    N(scales) s[TILE];
    for (ptrdiff_t i = 0; i < rows->count; i += TILE * LANES) {
        fastln_rows tile = fastln_rows_at(*rows, i, rows->stride);
        int width = N(tile_width)(rows->count - i), fine = 1;
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
            N(write_tile)(task, &tile, width, -1, s, 1);
        else
            N(write_cold_tile)(task, &tile, width, s, 1, scale, k);
    }
}
