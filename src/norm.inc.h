/* norm.inc.h: layer_norm and rms_norm for one dtype: gather the statistics of a few rows, then walk over them again,
 * while they are in cache, and write y. `centred` tells the two apart, a constant wherever it matters. */

INLINE int N(affine)(const fastln_task *task) { return (task->weight ? WEIGHT : 0) | (task->bias ? BIAS : 0); }

/* y = ((x + minus) * rstd + shift) * w + b */
INLINE VEC N(transform)(VEC x, VEC minus, VEC rstd, VEC shift, VEC w, VEC b, int affine, int centred) {
    VEC t = centred ? V(fma)(V(add)(x, minus), rstd, shift) : V(mul)(x, rstd);
    if (affine == (WEIGHT | BIAS)) return V(fma)(t, w, b);
    return affine == WEIGHT ? V(mul)(t, w) : affine == BIAS ? V(add)(t, b) : t;
}

/* Hands out mean and rstd of `count` rows from `first` on; then drops the mean where y is to keep it. */
INLINE void N(give_stats)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int count, N(scales) *s) {
    for (int j = 0; j < count && rows->mean; j++) ((REAL *)rows->mean)[first + j] = s->mean[j];
    for (int j = 0; j < count && rows->rstd; j++) ((REAL *)rows->rstd)[first + j] = s->rstd[j];
    for (int j = 0; j < count && !task->subtract_mean; j++) s->minus[j] = (REAL)-0.0, s->shift[j] = 0;
}

/* The same on the cold path, where x was multiplied by k, which is NaN for rows with an Inf or NaN. The rstd of a row
 * without spread comes from eps itself, since eps * k^2 may be out of range; if what it is multiplied with is 0, it must
 * be finite. */
INLINE void N(give_cold_stats)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int count,
                               const double *k, N(scales) *s) {
    N(scales) unscaled = *s;
    for (int j = 0; j < count; j++) {
        double rstd = N(is_flat)(s, j) ? 1 / sqrt(task->eps) : s->rstd[j] * k[j];
        unscaled.mean[j] = k[j] == k[j] ? (REAL)(s->mean[j] / k[j]) : (REAL)NAN;
        unscaled.rstd[j] = k[j] == k[j] ? (REAL)rstd : (REAL)NAN;
        if (N(is_flat)(s, j)) {
            int zero = task->subtract_mean || s->mean[j] == 0;
            s->rstd[j] = zero && !(rstd / k[j] < REAL_MAX) ? REAL_MAX : (REAL)(rstd / k[j]);
            s->shift[j] = 0;
        }
        if (!task->subtract_mean) s->minus[j] = (REAL)-0.0, s->shift[j] = 0;
    }
    N(give_stats)(task, rows, first, count, &unscaled);
}

/* A row that is NaN is the same NaN everywhere, whatever the processor makes of the operands' own. */
INLINE void N(write_nan)(char *y, ptrdiff_t step, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) E(store_n)((ELEMENT *)(y + i * step), V(set1)((REAL)NAN), 1);
}

/* ---- rows: the values of a row lie side by side ---- */

/* `n` values of one row, where weight, bias and y are `i` values further on. */
INLINE VEC N(apply)(const char *x, const REAL *weight, const REAL *bias, ptrdiff_t i, int n, VEC minus, VEC rstd,
                    VEC shift, int affine, int centred, const VEC *scale) {
    VEC w = rstd, b = rstd;
    if (affine & WEIGHT) w = n == LANES ? V(load)(weight + i) : V(load_n)(weight + i, n);
    if (affine & BIAS) b = n == LANES ? V(load)(bias + i) : V(load_n)(bias + i, n);
    return N(transform)(N(fetch)(x + i * SIZE, n, scale), minus, rstd, shift, w, b, affine, centred);
}

/* `count` values of one row, of which weight and bias begin at `first`. While they are written, what lies `ahead` bytes
 * further on is fetched: the rows whose statistics come next; and a little of y, `y_ahead` bytes on, which would not be
 * there when its turn comes. */
INLINE void N(apply_row)(const fastln_task *task, const char *x, char *y, ptrdiff_t first, ptrdiff_t count,
                         const N(scales) *s, int row, int affine, int centred, const VEC *scale, ptrdiff_t ahead,
                         ptrdiff_t y_ahead, int stream) {
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
    for (; i + 2 * LANES <= count; i += LANES) {
        prefetch(x + i * SIZE + ahead);
        if (stream) {
            E(stream)(out + i, APPLY(i, LANES));
        } else {
            prefetch(y + i * SIZE + y_ahead);
            E(store)(out + i, APPLY(i, LANES));
        }
    }
    if (count >= LANES) {
        VEC last = APPLY(i, LANES), end = APPLY(count - LANES, LANES);
        prefetch(x + i * SIZE + ahead);
        E(store)(out + i, last);
        E(store)(out + count - LANES, end);
    } else {
        E(store_n)(out, APPLY(0, (int)count), (int)count);
    }
#undef APPLY
}

/* The same for a few rows, on the hot path. */
INLINE void N(apply_rows)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                          const N(scales) *s, int centred, ptrdiff_t ahead, ptrdiff_t y_ahead) {
    const char *x = rows->x;
    char *y = rows->y;
    int n = (int)rows->count;
#define APPLY_ROWS(affine)                                                                                        \
    for (int j = 0; j < n; j++)                                                                                   \
    N(apply_row)(task, x + j * rows->x_stride, y + j * rows->y_stride, first, count, s, j, affine, centred, NULL, \
                 ahead, y_ahead, 0)
    switch (N(affine)(task)) {
    case 0: APPLY_ROWS(0); break;
    case WEIGHT: APPLY_ROWS(WEIGHT); break;
    case BIAS: APPLY_ROWS(BIAS); break;
    default: APPLY_ROWS(WEIGHT | BIAS);
    }
#undef APPLY_ROWS
}

/* The same past the caches, which so large a y would only sweep clean: memory is not read before it is written. At least
 * three vectors, or y would not be aligned. */
static NOINLINE void N(stream_rows)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, ptrdiff_t count,
                                    const N(scales) *s, int centred, ptrdiff_t ahead) {
    for (int j = 0; j < rows->count; j++)
        N(apply_row)(task, rows->x + j * rows->x_stride, rows->y + j * rows->y_stride, first, count, s, j,
                     N(affine)(task), centred, NULL, ahead, 0, 1);
    stream_fence();
}

/* Bytes of x, or of y. */
INLINE ptrdiff_t N(array_size)(const fastln_task *task) {
    ptrdiff_t size = task->length * SIZE;
    for (int axis = 0; axis < task->ndim; axis++) size *= task->shape[axis];
    return size;
}
/* In place x has the cache lines already; and of a short row too many are shared with its neighbours. */
INLINE int N(is_streamed)(const fastln_task *task) {
    return task->x != task->y && task->length * SIZE >= STREAMED_ROW && N(array_size)(task) >= STREAMED;
}

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
        N(apply_row)(task, x, y, first, count, s, 0, N(affine)(task), centred, &k, 0, 0, 0);
    else
        N(write_nan)(y, SIZE, count);
}

/* A row whose sums overflow or underflow, or that has an Inf or NaN: the same again, scaled by a power of two. */
static NOINLINE void N(cold_row)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t i, int centred) {
    const char *x = rows->x + i * rows->x_stride;
    fastln_scale scale = {.cold = 1, .k = N(power)(N(do_largest)(x, task->length), task->eps)};
    VEC k = V(set1)((REAL)scale.k);
    N(plan) plan = N(plan_of)(task);
    N(scales) s;
    plan.eps = plan.eps * scale.k * scale.k; /* in this order: k * k may overflow */
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
            N(apply_row)(task, x, y, 0, task->length, s, j, N(affine)(task), centred, NULL, 0, 0, 0);
        else
            N(cold_row)(task, rows, first + j, centred);
    }
}

/* Groups of LANES rows of `full` vectors, a small constant, and maybe a tail. All affine forms are one: a weight of 1 and
 * a bias of -0 change nothing. */
INLINE void N(short_rows)(const fastln_task *task, const fastln_rows *rows, int full, int centred) {
    N(plan) plan = N(plan_of)(task);
    int tail = plan.tail;
    N(scales) s;
    VEC w[SHORT_ROW + 1], b[SHORT_ROW + 1];
    int n = full ? LANES : tail;
    ptrdiff_t end = full ? task->length - LANES : 0; /* where the last vector begins, which may overlap */
    plan.full = full;
    for (int v = 0; v <= full; v++) {
        ptrdiff_t at = v < full ? v * LANES : end;
        w[v] = task->weight ? V(load_n)((const REAL *)task->weight + at, n) : V(set1)(1);
        b[v] = task->bias ? V(load_n)((const REAL *)task->bias + at, n) : V(set1)((REAL)-0.0);
    }
    for (ptrdiff_t i = 0; i + LANES <= rows->count; i += LANES) {
        const char *x = rows->x + i * rows->x_stride;
        char *y = rows->y + i * rows->y_stride;
        int fine = N(row_moments)(plan, x, rows->x_stride, LANES, centred, 1, NULL, &s);
        N(give_stats)(task, rows, i, LANES, &s);
        if (!fine) {
            N(apply_mixed)(task, rows, i, LANES, &s, centred);
            continue;
        }
        ptrdiff_t ahead = i + 4 * LANES <= rows->count ? 2 * LANES * rows->x_stride : 0;
        ptrdiff_t y_ahead = i + 4 * LANES <= rows->count ? 2 * LANES * rows->y_stride : 0;
        for (int j = 0; j < LANES; j += 4) {
            VEC part[4]; /* of rows shorter than a vector: a read that follows a masked store has to wait for it */
            UNROLL4 for (int r = 0; r < 4; r++, x += rows->x_stride, y += rows->y_stride) {
                VEC minus = V(set1)(s.minus[j + r]), rstd = V(set1)(s.rstd[j + r]), shift = V(set1)(s.shift[j + r]);
#define APPLY(v, at, n) \
    N(transform)(N(fetch)(x + (at) * SIZE, n, NULL), minus, rstd, shift, w[v], b[v], WEIGHT | BIAS, centred)
                if (!full) part[r] = APPLY(0, 0, tail);
                UNROLL4 for (int v = 0; v < full; v++) {
                    VEC t = APPLY(v, v * LANES, LANES);
                    prefetch(x + v * LANES * SIZE + ahead);
                    prefetch(y + v * LANES * SIZE + y_ahead);
                    if (v == full - 1 && tail) part[0] = APPLY(full, end, LANES);
                    E(store)((ELEMENT *)y + v * LANES, t);
                }
                if (full && tail) E(store)((ELEMENT *)y + end, part[0]);
#undef APPLY
            }
            for (int r = 0; r < 4 && !full; r++) E(store_n)((ELEMENT *)(y - (4 - r) * rows->y_stride), part[r], tail);
        }
    }
}

/* Does what rows it can in this way; returns how many. */
static NOINLINE ptrdiff_t N(do_short_rows)(const fastln_task *task, const fastln_rows *rows, int centred) {
#define SHORT_ROWS(full)                        \
    case full:                                  \
        if (centred)                            \
            N(short_rows)(task, rows, full, 1); \
        else                                    \
            N(short_rows)(task, rows, full, 0); \
        break;
    switch (task->length / LANES) {
        SHORT_ROWS(0)
        SHORT_ROWS(1)
        SHORT_ROWS(2)
        SHORT_ROWS(3)
        SHORT_ROWS(4)
    default: return 0;
    }
#undef SHORT_ROWS
    return rows->count - rows->count % LANES;
}

INLINE void N(do_rows)(const fastln_task *task, const fastln_rows *rows, int centred) {
    ptrdiff_t row = task->length * SIZE, group = row <= GROUPED_ROW / 2 ? 8 : row <= GROUPED_ROW ? 4 : 1;
    N(plan) plan = N(plan_of)(task);
    N(scales) s;
    int fetch = row <= FETCHED_ROW && N(array_size)(task) > FETCHED, stream = N(is_streamed)(task);
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
        else
            N(apply_rows)(task, &some, 0, task->length, &s, centred, ahead, y_ahead);
    }
}

/* ---- a long row, in pieces ---- */

INLINE void N(do_piece)(const char *x, ptrdiff_t vectors, const fastln_scale *scale, fastln_piece *piece, int centred) {
    VEC k = V(set1)((REAL)scale->k);
    N(lanes) s = N(vectors)(x, LANES * SIZE, vectors, LANES, centred, scale->cold ? &k : NULL);
    memcpy(piece, &s, sizeof s);
}

INLINE int N(do_combine)(const fastln_task *task, const fastln_rows *row, const char *tail, const fastln_piece *pieces,
                         ptrdiff_t leaf, fastln_scale *scale, int centred) {
    N(plan) plan = N(plan_of)(task);
    ptrdiff_t leaves = plan.full / leaf, rest = plan.full % leaf;
    VEC zero = V(set1)(0), k = V(set1)((REAL)scale->k);
    N(lanes) s[4] = {{zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}};
    N(tree) tree;
    tree.depth = 0;
    for (ptrdiff_t i = 0; i < leaves; i++) {
        memcpy(s, pieces + i, sizeof *s);
        N(tree_push)(&tree, s[0], i, leaf, centred);
    }
    if (rest) memcpy(s, pieces + leaves, sizeof *s);
    s[0] = N(tree_top)(&tree, leaves, leaf, s[0], rest, centred);
    N(scales) found;
    if (scale->cold) plan.eps = plan.eps * scale->k * scale->k;
    int fine = N(merge_one)(plan, tail, s, centred, scale->cold ? &k : NULL, &found);
    if (scale->cold)
        N(give_cold_stats)(task, row, 0, 1, &scale->k, &found);
    else if (fine)
        N(give_stats)(task, row, 0, 1, &found);
    else
        return 0;
    scale->minus = found.minus[0], scale->rstd = found.rstd[0], scale->shift = found.shift[0];
    return 1;
}

INLINE void N(do_apply)(const fastln_task *task, const fastln_scale *scale, const char *x, char *y, ptrdiff_t first,
                        ptrdiff_t count, int centred) {
    fastln_rows row = {.x = x, .y = y, .count = 1};
    N(scales) s;
    s.minus[0] = (REAL)scale->minus, s.rstd[0] = (REAL)scale->rstd, s.shift[0] = (REAL)scale->shift;
    if (scale->cold)
        N(apply_cold)(task, scale, x, y, first, count, &s, centred);
    else if (task->layout == FASTLN_ROWS && count >= 3 * LANES && N(is_streamed)(task))
        N(stream_rows)(task, &row, first, count, &s, centred, 0);
    else
        N(apply_rows)(task, &row, first, count, &s, centred, task->layout == FASTLN_ROWS ? 0 : task->x_step,
                      task->layout == FASTLN_ROWS ? Y_AHEAD : task->y_step);
}

/* ---- columns: the rows lie side by side, a lane each ---- */

/* Of a tile `width` wide, how many lanes of vector v are in use. */
INLINE int N(lanes_in)(int width, int v) { return width - v * LANES < LANES ? width - v * LANES : LANES; }

/* The values of a tile reach over as many pages as a row is long, which no processor foresees. */
INLINE void N(prefetch_tile_row)(const char *x, int width) {
    for (int at = 0; at < width * SIZE; at += 64) prefetch(x + at);
}

/* One value of every row of a tile after the other, so memory is written in order. Meanwhile the tile to its right is
 * fetched, `next` columns wide, and what of y is written soon. */
INLINE void N(apply_tile)(const fastln_task *task, const char *x, char *y, int width, int next, const N(scales) *s,
                          int affine, int centred, const VEC *scale) {
    int full = width / LANES, tail = width % LANES;
    VEC w = V(set1)(0), b = w;
    for (ptrdiff_t i = 0; i < task->length; i++, x += task->x_step, y += task->y_step) {
        if (affine & WEIGHT) w = V(set1)(((const REAL *)task->weight)[i]);
        if (affine & BIAS) b = V(set1)(((const REAL *)task->bias)[i]);
        N(prefetch_tile_row)(x + width * SIZE, next);
        if (i + TILE_AHEAD < task->length) N(prefetch_tile_row)(y + TILE_AHEAD * task->y_step, width);
        for (int v = 0; v <= full; v++) {
            int lanes = v < full ? LANES : tail, at = v * LANES;
            if (lanes == 0) continue;
            VEC t = N(fetch)(x + at * SIZE, lanes, scale ? scale + v : NULL);
            t = N(transform)(t, V(load)(s[v].minus), V(load)(s[v].rstd), V(load)(s[v].shift), w, b, affine, centred);
            if (lanes == LANES)
                E(store)((ELEMENT *)y + at, t);
            else
                E(store_n)((ELEMENT *)y + at, t, lanes);
        }
    }
}

INLINE int N(tile_moments)(const fastln_task *task, const char *x, int width, int centred, const VEC *scale,
                           double (*k)[LANES], N(scales) *s) {
    N(plan) plan = N(plan_of)(task);
    int fine = 1;
    for (int v = 0; v * LANES < width; v++)
        fine &= N(column_moments)(plan, x + v * LANES * SIZE, task->x_step, N(lanes_in)(width, v), centred,
                                  scale ? scale + v : NULL, k ? k[v] : NULL, s + v);
    return fine;
}

/* A tile with rows for the cold path: these are scaled by a power of two, the others by 1. */
static NOINLINE void N(cold_tile)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int width,
                                  N(scales) *s, int centred) {
    const char *x = rows->x + first * SIZE;
    double k[TILE][LANES];
    VEC scale[TILE] = {V(set1)(1)};
    for (int v = 0; v * LANES < width; v++) {
        int lanes = N(lanes_in)(width, v);
        REAL tops[LANES], powers[LANES];
        V(store)(tops, N(largest)(V(set1)(0), x + v * LANES * SIZE, task->x_step, task->length, lanes));
        for (int l = 0; l < LANES; l++)
            powers[l] = (REAL)(k[v][l] = l >= lanes || N(is_fine)(s + v, l) ? 1 : N(power)(tops[l], task->eps));
        scale[v] = V(load)(powers);
    }
    N(tile_moments)(task, x, width, centred, scale, k, s);
    for (int v = 0; v * LANES < width; v++)
        N(give_cold_stats)(task, rows, first + v * LANES, N(lanes_in)(width, v), k[v], s + v);
    N(apply_tile)(task, x, rows->y + first * SIZE, width, 0, s, N(affine)(task), centred, scale);
    for (int c = 0; c < width; c++)
        if (k[c / LANES][c % LANES] != k[c / LANES][c % LANES])
            N(write_nan)(rows->y + (first + c) * SIZE, task->y_step, task->length);
}

INLINE int N(tile_width)(ptrdiff_t left) { return left < TILE * LANES ? (int)left : TILE * LANES; }

INLINE void N(do_columns)(const fastln_task *task, const fastln_rows *rows, int centred) {
    N(scales) s[TILE];
    for (ptrdiff_t i = 0; i < task->length; i++)
        N(prefetch_tile_row)(rows->x + i * task->x_step, N(tile_width)(rows->count));
    for (ptrdiff_t i = 0; i < rows->count; i += TILE * LANES) {
        const char *x = rows->x + i * SIZE;
        char *y = rows->y + i * SIZE;
        int width = N(tile_width)(rows->count - i), next = N(tile_width)(rows->count - i - width);
        if (!N(tile_moments)(task, x, width, centred, NULL, NULL, s)) {
            N(cold_tile)(task, rows, i, width, s, centred);
            continue;
        }
        for (int v = 0; v * LANES < width; v++) N(give_stats)(task, rows, i + v * LANES, N(lanes_in)(width, v), s + v);
        switch (N(affine)(task)) {
        case 0: N(apply_tile)(task, x, y, width, next, s, 0, centred, NULL); break;
        case WEIGHT: N(apply_tile)(task, x, y, width, next, s, WEIGHT, centred, NULL); break;
        case BIAS: N(apply_tile)(task, x, y, width, next, s, BIAS, centred, NULL); break;
        default: N(apply_tile)(task, x, y, width, next, s, WEIGHT | BIAS, centred, NULL);
        }
    }
}

/* ---- the entries of the kernel table ---- */

#define ENTRIES(operation, centred)                                                                              \
    static void N(operation##_rows)(const fastln_task *task, const fastln_rows *rows) {                          \
        N(do_rows)(task, rows, centred);                                                                         \
    }                                                                                                            \
    static void N(operation##_columns)(const fastln_task *task, const fastln_rows *rows) {                       \
        N(do_columns)(task, rows, centred);                                                                      \
    }                                                                                                            \
    static void N(operation##_piece)(const char *x, ptrdiff_t vectors, const fastln_scale *scale,                \
                                     fastln_piece *piece) {                                                      \
        N(do_piece)(x, vectors, scale, piece, centred);                                                          \
    }                                                                                                            \
    static int N(operation##_combine)(const fastln_task *task, const fastln_rows *row, const char *tail,         \
                                      const fastln_piece *pieces, ptrdiff_t leaf, fastln_scale *scale) {         \
        return N(do_combine)(task, row, tail, pieces, leaf, scale, centred);                                     \
    }                                                                                                            \
    static void N(operation##_apply)(const fastln_task *task, const fastln_scale *scale, const char *x, char *y, \
                                     ptrdiff_t first, ptrdiff_t count) {                                         \
        N(do_apply)(task, scale, x, y, first, count, centred);                                                   \
    }
ENTRIES(layer_norm, 1)
ENTRIES(rms_norm, 0)
#undef ENTRIES

#define KERNEL(operation)                           \
    [FASTLN_##operation] = {N(operation##_rows),    \
                            N(operation##_columns), \
                            N(operation##_piece),   \
                            N(operation##_combine), \
                            N(operation##_apply),   \
                            N(do_largest),          \
                            N(power)},
static const fastln_kernel N(kernels)[FASTLN_OPERATIONS] = {FASTLN_FOR_EACH_OPERATION(KERNEL)};
#undef KERNEL
