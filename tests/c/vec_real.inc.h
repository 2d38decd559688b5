/* vec_real.inc.h: the operations of a vec header on one type of float. Included by vec.c once per type, with REAL, NAME
 * (the prefix of its operations), BITS (the unsigned integer of its size), LANES, FMA and FABS (the C functions). */

#define N(name) PASTE(name, NAME) /* a function of ours */
#define V(name) PASTE(NAME, name) /* a vec operation */
#define VEC V(vec)
#define SIZE ((int)sizeof(REAL))

static BITS N(bits)(REAL a) {
    BITS u;
    memcpy(&u, &a, sizeof u);
    return u;
}

static REAL N(of_bits)(BITS u) {
    REAL a;
    memcpy(&a, &u, sizeof a);
    return a;
}

static void N(check_lane)(const char *operation, int lane, REAL got, REAL expected) {
    if (N(bits)(got) != N(bits)(expected))
        fail("%s_%s, lane %d: %#" PRIx64 " (%g) instead of %#" PRIx64 " (%g)", STRING(NAME), operation, lane,
             (uint64_t)N(bits)(got), (double)got, (uint64_t)N(bits)(expected), (double)expected);
    checks++;
}

/* Which NaN comes out of arithmetic is left open. */
static void N(check_result)(const char *operation, int lane, REAL got, REAL expected) {
    if (expected != expected && got != got) got = expected;
    N(check_lane)(operation, lane, got, expected);
}

/* Any bits; a moderate number; zeros, infinities, the largest, the smallest. */
static REAL N(draw)(void) {
    static const REAL special[] = {0, -0.0f, 1, -1, 3, INFINITY, -INFINITY, NAN};
    uint64_t r = draw();
    switch (r % 8) {
    case 0: return special[r / 8 % 8];
    case 1: return N(of_bits)((BITS)((r >> 32) % 4));
    case 2: return N(of_bits)(N(bits)((REAL)INFINITY) - 1 - (BITS)((r >> 32) % 4));
    case 3:
    case 4: return N(of_bits)((BITS)draw());
    default: return (REAL)((double)(int64_t)draw() * 0x1p-62);
    }
}

static void N(test_arithmetic)(void) {
    int once = 0; /* how often rounding once, not twice, changed a result */
    for (int trial = 0; trial < 20000; trial++) {
        REAL a[LANES], b[LANES], c[LANES], got[LANES];
        for (int i = 0; i < LANES; i++) {
            a[i] = N(draw)(), b[i] = N(draw)(), c[i] = N(draw)();
            if (draw() % 2)
                c[i] = trial % 2 ? a[i] * b[i] : -(a[i] * b[i]); /* the sum is what the product rounded off */
        }
        VEC va = V(load)(a), vb = V(load)(b), vc = V(load)(c);
#define CHECK_LANES(operation, vector, expected) \
    V(store)(got, vector);                       \
    for (int i = 0; i < LANES; i++) N(check_result)(operation, i, got[i], expected)
        CHECK_LANES("set1", V(set1)(a[0]), a[0]);
        CHECK_LANES("add", V(add)(va, vb), a[i] + b[i]);
        CHECK_LANES("sub", V(sub)(va, vb), a[i] - b[i]);
        CHECK_LANES("mul", V(mul)(va, vb), a[i] * b[i]);
        CHECK_LANES("div", V(div)(va, vb), a[i] / b[i]);
        V(store)(got, V(if_negative)(va, vb, vc));
        for (int i = 0; i < LANES; i++) N(check_lane)("if_negative", i, got[i], signbit(a[i]) ? b[i] : c[i]);
        CHECK_LANES("fnma", V(fnma)(va, vb, vc), FMA(-a[i], b[i], c[i]));
        CHECK_LANES("fma", V(fma)(va, vb, vc), FMA(a[i], b[i], c[i]));
        for (int i = 0; i < LANES; i++) once += got[i] == got[i] && got[i] != a[i] * b[i] + c[i];
        V(store)(got, V(abs)(va));
        for (int i = 0; i < LANES; i++) N(check_lane)("abs", i, got[i], FABS(a[i]));
        /* max is not defined for NaN, nor which zero it takes. */
        for (int i = 0; i < LANES; i++)
            if (a[i] != a[i] || b[i] != b[i] || (a[i] == 0 && b[i] == 0)) a[i] = 2, b[i] = c[i] == c[i] ? c[i] : 1;
        CHECK_LANES("max", V(max)(V(load)(a), V(load)(b)), a[i] > b[i] ? a[i] : b[i]);
        if (trial % 2) b[trial % LANES] = (REAL)NAN; /* which min lets through */
        CHECK_LANES("min", V(min)(V(load)(a), V(load)(b)), a[i] < b[i] ? a[i] : b[i]);
#undef CHECK_LANES
    }
    if (once < 1000) fail("%s: the values do not tell a fused multiply-add from two roundings", STRING(NAME));
}

/* All powers of two but the subnormal ones. */
static void N(test_power2)(void) {
    int top = SIZE == 4 ? 127 : 1023;
    for (int k = 1 - top; k <= top; k++) {
        REAL x[LANES], got[LANES];
        for (int i = 0; i < LANES; i++) x[i] = (REAL)(i % 2 ? k : 1 - k);
        V(store)(got, V(power2)(V(load)(x)));
        for (int i = 0; i < LANES; i++) N(check_lane)("power2", i, got[i], (REAL)ldexp(1, i % 2 ? k : 1 - k));
    }
}

/* The same in all lanes, as an implementation may look for lanes that need more care: sums halfway between two numbers,
 * or a little off, and such beside the least and the largest of them. */
static void N(test_fused)(void) {
    int once = 0; /* how often rounding to double before changed a result */
    for (int trial = 0; trial < 50000; trial++) {
        uint64_t r = draw();
        /* For float the product of the last two is 1 and very little more. */
        REAL step = N(of_bits)(N(bits)(1) + 1) - 1, off[] = {1 - step, 1, 1 + step, 1 - 2895 * step, 1 + 2896 * step};
        REAL a = off[r % 5], b = off[r / 5 % 5], c = (REAL)((double)(int64_t)draw() * 0x1p-62);
        a *= (N(of_bits)(N(bits)(c) + 1) - c) / 2;
        if (r & 128) { /* half of the least number, and a multiple of it */
            a = off[r % 5] * (REAL)(SIZE == 4 ? 0x1p-75 : 0x1p-537);
            b = off[r / 5 % 5] * (REAL)(SIZE == 4 ? 0x1p-75 : 0x1p-538);
            c = N(of_bits)((BITS)(draw() % (2 * (uint64_t)N(bits)((REAL)(SIZE == 4 ? FLT_MIN : DBL_MIN)))));
            if (r & 256) c = (REAL)(SIZE == 4 ? FLT_MIN : DBL_MIN);
        }
        if (r & 1024) { /* half of what the largest number is apart from the next */
            a = off[r % 5] * (REAL)(SIZE == 4 ? 0x1p60 : 0x1p485);
            b = off[r / 5 % 5] * (REAL)(SIZE == 4 ? 0x1p43 : 0x1p485);
            c = (REAL)(SIZE == 4 ? FLT_MAX : DBL_MAX);
        }
        if (r & 64) a = -a;
        REAL got[LANES], expected = FMA(a, b, c);
        V(store)(got, V(fma)(V(set1)(a), V(set1)(b), V(set1)(c)));
        for (int i = 0; i < LANES; i++) N(check_lane)("fma", i, got[i], expected);
        once += expected != (REAL)((double)a * (double)b + (double)c);
    }
    if (once < 1000) fail("%s: the values do not tell a fused multiply-add from one by way of double", STRING(NAME));
}

/* Tails: the first n lanes, and the memory that holds them. */
static void N(test_tails)(void) {
    REAL x[LANES], got[LANES];
    for (int trial = 0; trial < 100; trial++) {
        for (int i = 0; i < LANES; i++) x[i] = N(of_bits)((BITS)draw());
        for (int n = 0; n <= LANES; n++) {
            REAL *begin = (REAL *)page, *end = (REAL *)(page + page_size) - n, s = N(draw)();
            V(store)(got, V(fill)(V(load)(x), n, s));
            for (int i = 0; i < LANES; i++) N(check_lane)("fill", i, got[i], i < n ? x[i] : s);
            V(store)(got, V(keep)(V(load)(x), n));
            for (int i = 0; i < LANES; i++) N(check_lane)("keep", i, got[i], i < n ? x[i] : 0);

            for (int at_end = 0; at_end < 2; at_end++) {
                REAL *p = at_end ? end : begin;
                memset(page, SENTINEL, page_size);
                memcpy(p, x, (size_t)n * sizeof *p);
                V(store)(got, V(load_n)(p, n));
                for (int i = 0; i < LANES; i++) N(check_lane)("load_n", i, got[i], i < n ? x[i] : 0);
                memset(page, SENTINEL, page_size);
                V(store_n)(p, V(load)(x), n);
                check_page(STRING(NAME) "_store_n", p, x, n * SIZE);
            }
            if (n < LANES) continue;
            V(store)(got, V(load)(end));
            for (int i = 0; i < LANES; i++) N(check_lane)("load", i, got[i], x[i]);
            memset(page, SENTINEL, page_size);
            V(stream)(begin + LANES, V(load)(x));
            stream_fence();
            check_page(STRING(NAME) "_stream", begin + LANES, x, LANES * SIZE);
            for (int shift = 0; shift < LANES; shift++) { /* whatever the alignment */
                memset(page, SENTINEL, page_size);
                V(store)(end - shift, V(load)(x));
                check_page(STRING(NAME) "_store", end - shift, x, LANES * SIZE);
                V(store)(got, V(load)(end - shift));
                for (int i = 0; i < LANES; i++) N(check_lane)("load", i, got[i], x[i]);
            }
        }
    }
}

/* Half onto half: lane i + lane i + LANES/2, and so on down to one. */
static REAL N(fold)(const REAL *x) {
    REAL s[LANES];
    memcpy(s, x, sizeof s);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) s[i] = s[i] + s[i + half];
    return s[0];
}

static REAL N(sum_in_sequence)(const REAL *x) {
    REAL s = 0;
    for (int i = 0; i < LANES; i++) s += x[i];
    return s;
}

static REAL N(sum_of_neighbours)(const REAL *x) {
    REAL s[LANES];
    memcpy(s, x, sizeof s);
    for (int count = LANES / 2; count; count /= 2)
        for (int i = 0; i < count; i++) s[i] = s[2 * i] + s[2 * i + 1];
    return s[0];
}

static void N(test_fold4)(void) {
    int in_sequence = 0, neighbours = 0; /* how often another order would have been another sum */
    for (int trial = 0; trial < 20000; trial++) {
        REAL x[4][LANES], sums[6];
        for (int row = 0; row < 4; row++)
            for (int i = 0; i < LANES; i++)
                x[row][i] =
                    trial % 4 ? (REAL)((double)(int64_t)draw() * 0x1p-62 * (double)(1 << draw() % 8)) : N(draw)();
        memset(sums, SENTINEL, sizeof sums);
        V(fold4)(V(load)(x[0]), V(load)(x[1]), V(load)(x[2]), V(load)(x[3]), sums + 1);
        for (int row = 0; row < 4; row++) {
            REAL expected = N(fold)(x[row]);
            N(check_result)("fold4", row, sums[row + 1], expected);
            in_sequence += expected == expected && expected != N(sum_in_sequence)(x[row]);
            neighbours += expected == expected && expected != N(sum_of_neighbours)(x[row]);
        }
        if (N(bits)(sums[0]) != (BITS)SENTINELS || N(bits)(sums[5]) != (BITS)SENTINELS)
            fail("%s_fold4 writes more than four sums", STRING(NAME));
    }
    if (in_sequence < 10000 || neighbours < 10000) fail("%s: the values do not tell orders apart", STRING(NAME));
}

static void N(test)(void) {
    N(test_arithmetic)();
    N(test_power2)();
    N(test_fused)();
    N(test_tails)();
    N(test_fold4)();
}

#undef N
#undef V
#undef VEC
#undef SIZE
