/* add.inc.h: sums of two arrays, for one dtype. */

/* s = x + residual; where s is narrower than the sum, that is kept in `wide`. s may be x or residual. */
static void N(add)(const char *x, const char *residual, char *s, char *wide, ptrdiff_t count) {
    ELEMENT *to = (ELEMENT *)s;
    REAL *sums = (REAL *)wide;
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        int n = count - i < LANES ? (int)(count - i) : LANES;
        VEC sum = V(add)(N(fetch)(x + i * SIZE, n, NULL), N(fetch)(residual + i * SIZE, n, NULL));
        if (n < LANES) {
            E(store_n)(to + i, sum, n);
            if (SIZE < (ptrdiff_t)sizeof(REAL)) V(store_n)(sums + i, sum, n);
        } else {
            E(store)(to + i, sum);
            if (SIZE < (ptrdiff_t)sizeof(REAL)) V(store)(sums + i, sum);
        }
    }
}

static void N(narrowed)(const char *wide, char *y, ptrdiff_t count) {
    const REAL *from = (const REAL *)wide;
    ELEMENT *to = (ELEMENT *)y;
    for (ptrdiff_t i = 0; i < count; i += LANES) {
        int n = count - i < LANES ? (int)(count - i) : LANES;
        if (n < LANES)
            E(store_n)(to + i, V(load_n)(from + i, n), n);
        else
            E(store)(to + i, V(load)(from + i));
    }
}
