/* add.inc.h: sums of two arrays, for one dtype. */

/* `n` values of the sum, at number i; those of half types are also kept as they are. */
INLINE void N(add_vector)(const char *x, const char *residual, ELEMENT *s, REAL *wide, ptrdiff_t i, int n) {
    VEC sum = V(add)(N(fetch)(x + i * SIZE, n, NULL), N(fetch)(residual + i * SIZE, n, NULL));
    int narrow = SIZE < (ptrdiff_t)sizeof(REAL);
    if (n == LANES) {
        E(store)(s + i, sum);
        if (narrow) V(store)(wide + i, sum);
    } else {
        E(store_n)(s + i, sum, n);
        if (narrow) V(store_n)(wide + i, sum, n);
    }
}

/* s = x + residual; s may be one of these. */
static void N(add)(const char *x, const char *residual, char *s, char *wide, ptrdiff_t count) {
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) N(add_vector)(x, residual, (ELEMENT *)s, (REAL *)wide, i, LANES);
    if (i < count) N(add_vector)(x, residual, (ELEMENT *)s, (REAL *)wide, i, (int)(count - i));
}

/* y = wide, rounded. */
static void N(narrowed)(const char *wide, char *y, ptrdiff_t count) {
    const REAL *from = (const REAL *)wide;
    ELEMENT *to = (ELEMENT *)y;
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) E(store)(to + i, V(load)(from + i));
    if (i < count) E(store_n)(to + i, V(load_n)(from + i, (int)(count - i)), (int)(count - i));
}
