/* vec.c: the operations of one vec header, one by one, against plain C.
 *
 *   cc <flags of the instruction set> -Isrc -DVEC_HEADER='"vec_avx2.h"' tests/c/vec.c -lm
 *   vec [floats]      how many random floats to round to each half type; 1 million unless told
 *
 * Prints how many checks passed, or the first difference and exits with 1. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include VEC_HEADER

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(name) #name
#define STRING(name) STRING_(name)

#define SENTINEL 0xa5
#define SENTINELS 0xa5a5a5a5a5a5a5a5u

static uint64_t checks;

static void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "%s: ", VEC_HEADER);
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
    va_end(values);
    exit(1);
}

/* 64 random bits (splitmix64: Steele, Lea & Flood 2014). */
static uint64_t draw(void) {
    static uint64_t state = 1;
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A page between two that nobody may touch. */
static unsigned char *page;
static size_t page_size;

static void make_page(void) {
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *pages = mmap(NULL, 3 * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + page_size, page_size, PROT_READ | PROT_WRITE)) fail("no guard pages");
    page = pages + page_size;
}

/* The page, full of sentinels before, must hold `size` bytes of x at p and sentinels around. */
static void check_page(const char *operation, const void *p, const void *x, int size) {
    ptrdiff_t start = (const unsigned char *)p - page;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)page_size; i++)
        if ((i < start || i >= start + size) && page[i] != SENTINEL)
            fail("%s of %d bytes writes to byte %td", operation, size, i - start);
    if (memcmp(p, x, (size_t)size)) fail("%s of %d bytes writes something else", operation, size);
    checks++;
}

#define REAL float
#define NAME f32
#define BITS uint32_t
#define LANES 16
#define FMA fmaf
#define FABS fabsf
#include "vec_real.inc.h"
#undef REAL
#undef NAME
#undef BITS
#undef LANES
#undef FMA
#undef FABS

#define REAL double
#define NAME f64
#define BITS uint64_t
#define LANES 8
#define FMA fma
#define FABS fabs
#include "vec_real.inc.h"

/* The half types: the formats, and the functions under test. */
enum { HALVES = 16 }; /* in a vector */

typedef struct {
    const char *name;
    int fraction; /* bits */
    int bias;     /* of the exponent, whose bits are the rest but the sign */
    int quiets;   /* loads make a NaN quiet */
    f32_vec (*load)(const uint16_t *p);
    f32_vec (*load_n)(const uint16_t *p, int n);
    void (*store)(uint16_t *p, f32_vec a);
    void (*store_n)(uint16_t *p, f32_vec a, int n);
} half_type;

static const half_type half_types[] = {
    {"f16", 10, 15, 1, f16_load, f16_load_n, f16_store, f16_store_n},
    {"bf16", 7, 127, 0, bf16_load, bf16_load_n, bf16_store, bf16_store_n},
};

static uint16_t infinity_of(const half_type *type) { return (uint16_t)(0x7fff >> type->fraction << type->fraction); }

/* The float that a half is, by arithmetic in double. */
static float widen(const half_type *type, uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, fraction = half & ((1u << type->fraction) - 1);
    int exponent = (half & 0x7fff) >> type->fraction;
    if ((half & 0x7fff) > infinity_of(type))
        return of_bits_f32(sign | 0x7f800000 | (type->quiets ? 0x400000 : 0) | fraction << (23 - type->fraction));
    if ((half & 0x7fff) == infinity_of(type)) return sign ? -INFINITY : INFINITY;
    double size = exponent ? (double)(fraction + (1u << type->fraction)) : (double)fraction;
    size = ldexp(size, (exponent ? exponent : 1) - type->bias - type->fraction);
    return (float)(sign ? -size : size);
}

/* The half nearest to a float, by arithmetic in double: the float in steps of the format, rounded to even. */
static uint16_t narrow(const half_type *type, float a) {
    uint32_t u = bits_f32(a), sign = u >> 16 & 0x8000;
    if (a != a) {
        uint32_t quiet = 1u << (type->fraction - 1), payload = (u & 0x7fffff) >> (23 - type->fraction);
        return (uint16_t)(sign | infinity_of(type) | quiet | payload);
    }
    if (isinf(a)) return (uint16_t)(sign | infinity_of(type));
    int exponent;
    frexp(a, &exponent);                                                /* |a| is in [2^(exponent - 1), 2^exponent) */
    if (a == 0 || exponent < 2 - type->bias) exponent = 2 - type->bias; /* subnormal: the step gets no smaller */
    double steps = nearbyint(ldexp(fabs((double)a), type->fraction + 1 - exponent));
    /* In the layout of a half a step is one everywhere, also from one exponent to the next. */
    int half = (int)steps + (exponent - 2 + type->bias) * (1 << type->fraction);
    return (uint16_t)(sign | (uint32_t)(half > infinity_of(type) ? infinity_of(type) : half));
}

static void check_stores(const half_type *type, const float *x, const uint16_t *expected) {
    uint16_t got[HALVES];
    type->store(got, f32_load(x));
    for (int i = 0; i < HALVES; i++)
        if (got[i] != expected[i])
            fail("%s_store, lane %d: %#x instead of %#x for %#x (%a)", type->name, i, got[i], expected[i],
                 bits_f32(x[i]), x[i]);
    checks += HALVES;
}

static void test_half_loads(const half_type *type) {
    for (uint32_t first = 0; first < 0x10000; first += HALVES) {
        uint16_t halves[HALVES];
        float got[HALVES];
        for (uint32_t i = 0; i < HALVES; i++) halves[i] = (uint16_t)(first + i);
        f32_store(got, type->load(halves));
        for (int i = 0; i < HALVES; i++)
            if (bits_f32(got[i]) != bits_f32(widen(type, halves[i])))
                fail("%s_load of %#x: %#x instead of %#x", type->name, halves[i], bits_f32(got[i]),
                     bits_f32(widen(type, halves[i])));
        checks += HALVES;
    }
}

/* Each half, and what lies between it and the next: the midpoint and its neighbours among the floats. */
static void test_half_rounding(const half_type *type) {
    float x[HALVES];
    uint16_t expected[HALVES];
    int filled = 0;
    for (uint32_t half = 0; half < infinity_of(type); half++) {
        double low = widen(type, (uint16_t)half), step = ldexp(1, 1 - type->bias - type->fraction);
        if (half >> type->fraction) step = ldexp(step, (int)(half >> type->fraction) - 1);
        float midpoint = (float)(low + step / 2);
        if (midpoint != low + step / 2) fail("a midpoint that is no float");
        uint32_t even = half + (half & 1);
        float values[] = {(float)low, nextafterf(midpoint, 0), midpoint, nextafterf(midpoint, INFINITY)};
        uint32_t nearest[] = {half, half, even, half + 1};
        for (int i = 0; i < 8; i++) {
            x[filled] = i < 4 ? values[i] : -values[i - 4];
            expected[filled] = (uint16_t)(i < 4 ? nearest[i] : 0x8000 | nearest[i - 4]);
            if (narrow(type, x[filled]) != expected[filled]) fail("%s: the expectations differ", type->name);
            if (++filled == HALVES) check_stores(type, x, expected), filled = 0;
        }
    }
}

static void test_half_stores(const half_type *type, long floats) {
    static const float special[] = {0,         -0.0f,      INFINITY,        -INFINITY, NAN,        65519,
                                    65520,     65536,      3.4028235e38f,   0x1p-25f,  0x1.8p-24f, 0x1p-26f,
                                    0x1p-149f, -0x1p-149f, 0x1.fffffep-15f, 0x1p-126f};
    float x[HALVES];
    uint16_t expected[HALVES];
    for (long done = 0; done < floats; done += HALVES) {
        for (int i = 0; i < HALVES; i++) {
            uint32_t u = (uint32_t)draw();
            /* Any float is mostly one that overflows or vanishes: half of them get an exponent near 0, some are NaN. */
            if (i % 2) u = (u & 0x807fffff) | (100 + (u >> 23 & 0x3f)) << 23;
            if (i == 2) u |= 0x7f800000;
            x[i] = done ? of_bits_f32(u) : special[i];
            expected[i] = narrow(type, x[i]);
        }
        check_stores(type, x, expected);
    }
}

static void test_half_tails(const half_type *type) {
    for (int n = 0; n <= HALVES; n++)
        for (int at_end = 0; at_end < 2; at_end++) {
            uint16_t x[HALVES], *p = at_end ? (uint16_t *)(page + page_size) - n : (uint16_t *)page;
            float got[HALVES];
            for (int i = 0; i < HALVES; i++) x[i] = (uint16_t)(0x3c00 + draw() % 0x400);
            memset(page, SENTINEL, page_size);
            memcpy(p, x, (size_t)n * sizeof *p);
            f32_store(got, type->load_n(p, n));
            for (int i = 0; i < HALVES; i++)
                if (bits_f32(got[i]) != (i < n ? bits_f32(widen(type, x[i])) : 0))
                    fail("%s_load_n of %d, lane %d: %a", type->name, n, i, got[i]);
            checks += HALVES;
            memset(page, SENTINEL, page_size);
            type->store_n(p, type->load(x), n);
            check_page(type->name, p, x, n * (int)sizeof *p);
            if (n < HALVES) continue;
            memset(page, SENTINEL, page_size);
            type->store(p, type->load(x));
            check_page(type->name, p, x, n * (int)sizeof *p);
            f32_store(got, type->load(p));
            for (int i = 0; i < HALVES; i++) check_lane_f32("load of halves", i, got[i], widen(type, x[i]));
        }
}

/* What only the end of the statistics needs: doubles, eight at a time. */
static void test_doubles(void) {
    for (int trial = 0; trial < 20000; trial++) {
        double a[8], got[8];
        float narrow[10], wide[8];
        for (int i = 0; i < 8; i++) a[i] = draw_f64(), wide[i] = draw_f32();
        f64_store(got, f64_sqrt(f64_load(a)));
        for (int i = 0; i < 8; i++) check_result_f64("sqrt", i, got[i], sqrt(a[i]));
        f64_store(got, f32_widen(wide));
        for (int i = 0; i < 8; i++) check_result_f64("widen from float", i, got[i], (double)wide[i]);
        f64_store(got, f64_widen(a));
        for (int i = 0; i < 8; i++) check_lane_f64("widen", i, got[i], a[i]);
        f64_narrow(got, f64_load(a));
        for (int i = 0; i < 8; i++) check_lane_f64("narrow", i, got[i], a[i]);
        memset(narrow, SENTINEL, sizeof narrow);
        f32_narrow(narrow + 1, f64_load(a));
        for (int i = 0; i < 8; i++) check_result_f32("narrow to float", i, narrow[i + 1], (float)a[i]);
        if (bits_f32(narrow[0]) != (uint32_t)SENTINELS || bits_f32(narrow[9]) != (uint32_t)SENTINELS)
            fail("f32_narrow writes more than eight floats");
    }
    for (int lane = 0; lane < 8; lane++) {
        static const double values[] = {0.5, 1, 1.5, 2, 2.5, NAN, INFINITY, -INFINITY};
        static const int within[] = {0, 1, 1, 1, 0, 0, 0, 0};
        for (int i = 0; i < 8; i++) {
            double a[8] = {1, 2, 1, 2, 1, 2, 1, 2};
            a[lane] = values[i];
            if (f64_within(f64_load(a), 1, 2) != within[i]) fail("f64_within, lane %d: wrong for %g", lane, values[i]);
            checks++;
        }
    }
}

int main(int argc, char **argv) {
    long floats = argc > 1 ? atol(argv[1]) : 1000000;
    make_page();
    test_f32();
    test_f64();
    test_doubles();
    for (size_t i = 0; i < sizeof half_types / sizeof *half_types; i++) {
        test_half_loads(&half_types[i]);
        test_half_rounding(&half_types[i]);
        test_half_tails(&half_types[i]);
        test_half_stores(&half_types[i], floats);
    }
    printf("%" PRIu64 " checks passed\n", checks);
    return 0;
}
