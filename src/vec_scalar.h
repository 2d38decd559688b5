/* vec_scalar.h: one vector is an array, of numbers or of parts that the compiler knows how to work on at once. Portable
 * C11, the executable specification of the other headers: what an operation does to a lane is what stands here. What
 * each is for: vec_avx512.h. */
#ifndef FASTLN_VEC_H
#define FASTLN_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "compiler.h"

/* Not forced, as elsewhere: an operation is many instructions here, so the kernels would only grow and compile slowly.
 */
#define INLINE static inline

#if !defined(FASTLN_NO_PARTS) && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 9))
typedef float f32_part __attribute__((vector_size(16)));
typedef double f64_part __attribute__((vector_size(16)));
typedef double f32_wide __attribute__((vector_size(32))); /* the lanes of an f32_part, widened */
typedef int32_t f32_bits __attribute__((vector_size(16)));
typedef uint64_t f32_wide_bits __attribute__((vector_size(32)));
#define CONVERT(part, type) __builtin_convertvector(part, type)
#else
typedef float f32_part;
typedef double f64_part;
typedef double f32_wide;
typedef int32_t f32_bits;
typedef uint64_t f32_wide_bits;
#define CONVERT(part, type) ((type)(part))
#endif

typedef union {
    f32_part part[64 / sizeof(f32_part)];
    float lane[16];
} f32_vec;
typedef union {
    f64_part part[64 / sizeof(f64_part)];
    double lane[8];
} f64_vec;

static inline uint32_t bits_of(float a) {
    uint32_t u;
    memcpy(&u, &a, sizeof u);
    return u;
}
static inline float float_of(uint32_t u) {
    float a;
    memcpy(&a, &u, sizeof a);
    return a;
}

/* A function of vectors whose result has `expression` as its part i, or its lane i. */
#define BY_PART(name, params, expression)                                                      \
    static inline VEC name params {                                                            \
        VEC r;                                                                                 \
        UNROLL4 for (size_t i = 0; i < sizeof r / sizeof *r.part; i++) r.part[i] = expression; \
        return r;                                                                              \
    }
#define BY_LANE(name, params, expression)                       \
    static inline VEC name params {                             \
        VEC r;                                                  \
        for (int i = 0; i < LANES; i++) r.lane[i] = expression; \
        return r;                                               \
    }
/* The operations are the same for both types but for the C name of a function. set1 subtracts a 0, which keeps a -0. */
#define OPERATIONS(type, element, fabs_)                                                           \
    BY_PART(type##_set1, (element s), s - (type##_part){0})                                        \
    BY_PART(type##_add, (VEC a, VEC b), a.part[i] + b.part[i])                                     \
    BY_PART(type##_sub, (VEC a, VEC b), a.part[i] - b.part[i])                                     \
    BY_PART(type##_mul, (VEC a, VEC b), a.part[i] * b.part[i])                                     \
    BY_LANE(type##_abs, (VEC a), fabs_(a.lane[i]))                                                 \
    BY_LANE(type##_max, (VEC a, VEC b), a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i])             \
    BY_LANE(type##_min, (VEC a, VEC b), a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i])             \
    BY_PART(type##_div, (VEC a, VEC b), a.part[i] / b.part[i])                                     \
    BY_LANE(type##_power2, (VEC k), type##_power2_lane(k.lane[i]))                                 \
    BY_LANE(type##_if_negative, (VEC x, VEC a, VEC b), signbit(x.lane[i]) ? a.lane[i] : b.lane[i]) \
    BY_LANE(type##_fill, (VEC a, int n, element s), i < n ? a.lane[i] : s)                         \
    BY_LANE(type##_keep, (VEC a, int n), i < n ? a.lane[i] : 0)                                    \
    BY_LANE(type##_load_n, (const element *p, int n), i < n ? p[i] : 0)                            \
    static inline VEC type##_load(const element *p) {                                              \
        VEC r;                                                                                     \
        memcpy(r.part, p, sizeof r);                                                               \
        return r;                                                                                  \
    }                                                                                              \
    static inline void type##_store(element *p, VEC a) { memcpy(p, a.part, sizeof a); }            \
    static inline void type##_stream(element *p, VEC a) { type##_store(p, a); }                    \
    static inline void type##_store_n(element *p, VEC a, int n) {                                  \
        for (int i = 0; i < n; i++) p[i] = a.lane[i];                                              \
    }                                                                                              \
    static inline element type##_sum(VEC a) {                                                      \
        for (int half = LANES / 2; half; half /= 2)                                                \
            for (int i = 0; i < half; i++) a.lane[i] += a.lane[i + half];                          \
        return a.lane[0];                                                                          \
    }                                                                                              \
    static inline void type##_fold4(VEC a, VEC b, VEC c, VEC d, element sums[4]) {                 \
        sums[0] = type##_sum(a);                                                                   \
        sums[1] = type##_sum(b);                                                                   \
        sums[2] = type##_sum(c);                                                                   \
        sums[3] = type##_sum(d);                                                                   \
    }                                                                                              \
    static inline VEC type##_fnma(VEC a, VEC b, VEC c) {                                           \
        return type##_fma(type##_sub(type##_set1((element) - 0.0), a), b, c);                      \
    }

#define VEC f32_vec
#define LANES 16

/* In double the product of two floats is exact. The sum, rounded to a float, is right, unless it lies halfway between
 * two of them, where its own rounding may have brought it, or among the subnormal ones. fmaf knows, and takes long. A
 * sum of 0 is exact: the product does not underflow. */
static inline float f32_fma_lane(float a, float b, float c) {
    double sum = (double)a * b + c;
    return sum == 0 ? (float)sum : fmaf(a, b, c);
}
BY_LANE(f32_fma_lanes, (VEC a, VEC b, VEC c), f32_fma_lane(a.lane[i], b.lane[i], c.lane[i]))
static inline f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) {
    f32_vec r;
    union {
        f32_bits part;
        int32_t lane[sizeof(f32_bits) / 4];
    } doubtful = {.part = (f32_bits){0}};
    int any = 0;
    UNROLL4 for (size_t i = 0; i < sizeof r / sizeof *r.part; i++) {
        f32_wide sum = CONVERT(a.part[i], f32_wide) * CONVERT(b.part[i], f32_wide) + CONVERT(c.part[i], f32_wide);
        f32_wide_bits wide;
        f32_bits bits;
        r.part[i] = CONVERT(sum, f32_part);
        memcpy(&wide, &sum, sizeof wide);
        memcpy(&bits, &r.part[i], sizeof bits);
        doubtful.part |= ((CONVERT(wide, f32_bits) & 0x1fffffff) == 0x10000000) | ((bits & 0x7fffffff) <= 0x00800000);
    }
    for (size_t i = 0; i < sizeof doubtful / 4; i++) any |= doubtful.lane[i];
    return any ? f32_fma_lanes(a, b, c) : r;
}
static inline float f32_power2_lane(float k) { return float_of(bits_of(k + (0x1.8p23f + 127)) << 23); }
OPERATIONS(f32, float, fabsf)
#undef VEC
#undef LANES

#define VEC f64_vec
#define LANES 8
BY_LANE(f64_fma, (VEC a, VEC b, VEC c), fma(a.lane[i], b.lane[i], c.lane[i]))
static inline double f64_power2_lane(double k) {
    uint64_t u;
    k += 0x1.8p52 + 1023;
    memcpy(&u, &k, sizeof u);
    u <<= 52;
    memcpy(&k, &u, sizeof u);
    return k;
}
OPERATIONS(f64, double, fabs)
BY_LANE(f64_sqrt, (VEC a), sqrt(a.lane[i]))
BY_LANE(f32_widen, (const float *p), p[i])
BY_LANE(f64_widen, (const double *p), p[i])
#undef VEC
#undef LANES

static inline void f32_narrow(float *p, f64_vec a) {
    for (int i = 0; i < 8; i++) p[i] = (float)a.lane[i];
}
static inline void f64_narrow(double *p, f64_vec a) { f64_store(p, a); }
static inline int f64_within(f64_vec a, double low, double high) {
    int all = 1;
    for (int i = 0; i < 8; i++) all &= a.lane[i] >= low && a.lane[i] <= high;
    return all;
}

static inline void stream_fence(void) {}

static inline float bf16_widen(uint16_t h) { return float_of((uint32_t)h << 16); }
static inline uint16_t bf16_narrow(float a) {
    uint32_t u = bits_of(a);
    if (a != a) return (uint16_t)((u | 0x400000) >> 16);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* With the sign apart, the bits of a half, moved to where a float has them, are a float 2^112 times too small. */
static inline float f16_widen(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    if (rest >= 0x0f800000) /* Inf, or a NaN, which becomes quiet */
        return float_of(sign | 0x7f800000 | rest | (rest > 0x0f800000 ? 0x400000 : 0));
    return float_of(sign | bits_of(float_of(rest) * 0x1p112f));
}
static inline uint16_t f16_narrow(float a) {
    uint32_t u = bits_of(a), sign = (u >> 16) & 0x8000, size = u & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00 | ((size >> 13) & 0x3ff));
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and more round to Inf */
    if (size < 0x38800000) /* below 2^-14: adding 2^-1 shifts out, and rounds, what a subnormal half can't hold */
        return (uint16_t)(sign | (bits_of(float_of(size) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | ((size + 0xfff + ((size >> 13) & 1) - 0x38000000) >> 13));
}

#define HALF(name)                                                                        \
    static inline f32_vec name##_load_n(const uint16_t *p, int n) {                       \
        f32_vec r;                                                                        \
        for (int i = 0; i < 16; i++) r.lane[i] = i < n ? name##_widen(p[i]) : 0;          \
        return r;                                                                         \
    }                                                                                     \
    static inline f32_vec name##_load(const uint16_t *p) { return name##_load_n(p, 16); } \
    static inline void name##_store_n(uint16_t *p, f32_vec a, int n) {                    \
        for (int i = 0; i < n; i++) p[i] = name##_narrow(a.lane[i]);                      \
    }                                                                                     \
    static inline void name##_store(uint16_t *p, f32_vec a) { name##_store_n(p, a, 16); } \
    static inline void name##_stream(uint16_t *p, f32_vec a) { name##_store(p, a); }
HALF(f16)
HALF(bf16)

#endif
