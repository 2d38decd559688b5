/* norm.inc.h: layer_norm and rms_norm for one dtype: gather the statistics of a few rows, then walk over them again,
 * while they are in cache, and write y. `centred` tells the two apart, a constant wherever it matters. Here is what the
 * layouts share. */

/* Bytes of x, or of y. */
INLINE ptrdiff_t N(array_size)(const fastln_task *task) { return fastln_count_rows(task) * task->length * SIZE; }
/* Bytes; y of smaller arrays is not fetched before it is written. AMD's processors (Zen 3 and 5) do not gain from that
 * where x is not fetched, either. */
INLINE ptrdiff_t N(least_fetched)(void) { return fastln_cpu_is_amd() ? FETCHED : CACHED; }
INLINE int N(affine)(const fastln_task *task) { return (task->weight ? WEIGHT : 0) | (task->bias ? BIAS : 0); }
/* DO(affine), which is a constant there. */
#define FOR_AFFINE(task)            \
    switch (N(affine)(task)) {      \
    case 0: DO(0); break;           \
    case WEIGHT: DO(WEIGHT); break; \
    case BIAS: DO(BIAS); break;     \
    default: DO(WEIGHT | BIAS);     \
    }
/* The same for one weight and one bias: those that are not given are 1 and -0, which change nothing. */
#define FOR_SPREAD(task)            \
    if (task->form == FASTLN_ADA) { \
        DO(SPREAD | ADA);           \
    } else {                        \
        DO(SPREAD);                 \
    }
INLINE REAL N(weight_at)(const char *weight) { return weight ? *(const REAL *)weight : 1; }
INLINE REAL N(bias_at)(const char *bias) { return bias ? *(const REAL *)bias : (REAL)-0.0; }

/* t = (x + minus) * rstd + shift, y = t * w + b or, ADA, t * (t * w + b) */
INLINE VEC N(transform)(VEC x, VEC minus, VEC rstd, VEC shift, VEC w, VEC b, int affine, int centred) {
    VEC t = centred ? V(fma)(V(add)(x, minus), rstd, shift) : V(mul)(x, rstd);
    if (affine & ADA) return V(mul)(t, V(fma)(t, w, b));
    if (affine & SPREAD || affine == (WEIGHT | BIAS)) return V(fma)(t, w, b);
    return affine == WEIGHT ? V(mul)(t, w) : affine == BIAS ? V(add)(t, b) : t;
}

/* Hands out the statistics of `count` rows from `first` on; then drops the mean where y is to keep it. */
static NOINLINE void N(give_these)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int count,
                                   N(scales) *s) {
    ptrdiff_t stride = rows->stride.stat;
    char *mean = fastln_to(rows->mean, first * stride), *rstd = fastln_to(rows->rstd, first * stride);
    for (int j = 0; j < count && task->wide; j++) {
        *(double *)(mean + j * stride) = s->mean[j];
        *(double *)(rstd + j * stride) = s->m2[j] / (double)task->length;
    }
    for (int j = 0; j < count && rows->mean && !task->wide; j++) *(REAL *)(mean + j * stride) = (REAL)s->mean[j];
    for (int j = 0; j < count && rows->rstd && !task->wide; j++) *(REAL *)(rstd + j * stride) = s->rstd[j];
    for (int j = 0; j < count && !task->subtract_mean; j++) s->minus[j] = (REAL)-0.0, s->shift[j] = 0;
}

/* The same, if there is anything to do. */
INLINE void N(give_stats)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int count, N(scales) *s) {
    if (rows->mean || rows->rstd || !task->subtract_mean) N(give_these)(task, rows, first, count, s);
}

/* The same on the cold path, where x was multiplied by k, which is NaN for rows with an Inf or NaN. The rstd of a row
 * without spread comes from eps itself, since eps * k^2 may be out of range; if what it is multiplied with is 0, it
 * must be finite. */
INLINE void N(give_cold_stats)(const fastln_task *task, const fastln_rows *rows, ptrdiff_t first, int count,
                               const double *k, N(scales) *s) {
    N(scales) unscaled = *s;
    for (int j = 0; j < count; j++) {
        double rstd = N(is_flat)(s, j) ? 1 / sqrt(task->eps) : s->rstd[j] * k[j];
        unscaled.mean[j] = k[j] == k[j] ? s->mean[j] / k[j] : (double)NAN;
        unscaled.m2[j] = k[j] == k[j] ? s->m2[j] / k[j] / k[j] : (double)NAN;
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

#include "rows.inc.h"
#include "columns.inc.h"
#include "pieces.inc.h"
#include "add.inc.h"

#define ENTRIES(operation, centred)                                                                                  \
    static void N(operation##_rows)(const fastln_task *task, const fastln_runs *runs) {                              \
        N(do_rows)(task, runs, centred);                                                                             \
    }                                                                                                                \
    static void N(operation##_columns)(const fastln_task *task, const fastln_rows *rows) {                           \
        N(do_columns)(task, rows, centred);                                                                          \
    }                                                                                                                \
    static void N(operation##_near)(const char *sample, fastln_scale *scale) { N(do_near)(sample, scale, centred); } \
    static void N(operation##_piece)(const char *x, ptrdiff_t vectors, const fastln_scale *scale,                    \
                                     fastln_piece *piece) {                                                          \
        N(do_piece)(x, vectors, scale, piece, centred);                                                              \
    }                                                                                                                \
    static int N(operation##_combine)(const fastln_task *task, const fastln_rows *row, const char *tail,             \
                                      const fastln_piece *pieces, ptrdiff_t leaf, fastln_scale *scale) {             \
        return N(do_combine)(task, row, tail, pieces, leaf, scale, centred);                                         \
    }                                                                                                                \
    static void N(operation##_apply)(const fastln_task *task, const fastln_scale *scale, const fastln_rows *row,     \
                                     ptrdiff_t first, ptrdiff_t count) {                                             \
        N(do_apply)(task, scale, row, first, count, centred);                                                        \
    }
ENTRIES(layer_norm, 1)
ENTRIES(rms_norm, 0)
#undef ENTRIES

static void N(normalize_rows)(const fastln_task *task, const fastln_runs *runs) { N(do_given_rows)(task, runs); }
static void N(normalize_columns)(const fastln_task *task, const fastln_rows *rows) { N(do_given_columns)(task, rows); }

#define KERNEL(operation)                           \
    [FASTLN_##operation] = {N(operation##_rows),    \
                            N(operation##_columns), \
                            N(operation##_near),    \
                            N(operation##_piece),   \
                            N(operation##_combine), \
                            N(operation##_apply),   \
                            N(do_largest),          \
                            N(power),               \
                            N(add),                 \
                            N(narrowed)}
static const fastln_kernel N(kernels)[FASTLN_OPERATIONS] = {
    KERNEL(layer_norm),
    KERNEL(rms_norm),
    [FASTLN_normalize] = {.rows = N(normalize_rows),
                          .columns = N(normalize_columns),
                          .combine = N(combine_given),
                          .apply = N(layer_norm_apply)},
};
_Static_assert(FASTLN_OPERATIONS == 3, "each has its entries");
#undef KERNEL
#undef FOR_AFFINE
#undef FOR_SPREAD
#undef FAR
