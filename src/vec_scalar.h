/* vec_scalar.h: one vector is an array. Portable C11, and the executable specification of the other headers: what an
 * operation does to a lane is what stands here. Described in vec_avx512.h. */
#ifndef FASTLN_VEC_H
#define FASTLN_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* An operation is a loop here: forced into one function, as elsewhere, the kernels would only grow and compile slowly. */
#define INLINE static

typedef struct { float v[16]; } f32_vec;
typedef struct { double v[8]; } f64_vec;

/* The operations on lanes are the same for both types but for the C names of two functions. */
#define LANEWISE(name, params, expression)                   \
    static inline VEC name params {                          \
        VEC r;                                               \
        for (int i = 0; i < LANES; i++) r.v[i] = expression; \
        return r;                                            \
    }
#define OPERATIONS(type, element, fma_, fabs_)                                         \
    LANEWISE(type##_set1, (element s), s)                                              \
    LANEWISE(type##_add, (VEC a, VEC b), a.v[i] + b.v[i])                              \
    LANEWISE(type##_sub, (VEC a, VEC b), a.v[i] - b.v[i])                              \
    LANEWISE(type##_mul, (VEC a, VEC b), a.v[i] * b.v[i])                              \
    LANEWISE(type##_fma, (VEC a, VEC b, VEC c), fma_(a.v[i], b.v[i], c.v[i]))          \
    LANEWISE(type##_fnma, (VEC a, VEC b, VEC c), fma_(-a.v[i], b.v[i], c.v[i]))        \
    LANEWISE(type##_abs, (VEC a), fabs_(a.v[i]))                                       \
    LANEWISE(type##_max, (VEC a, VEC b), a.v[i] > b.v[i] ? a.v[i] : b.v[i])            \
    LANEWISE(type##_fill, (VEC a, int n, element s), i < n ? a.v[i] : s)               \
    LANEWISE(type##_keep, (VEC a, int n), i < n ? a.v[i] : 0)                          \
    LANEWISE(type##_load, (const element *p), p[i])                                    \
    LANEWISE(type##_load_n, (const element *p, int n), i < n ? p[i] : 0)               \
    static inline void type##_store(element *p, VEC a) { memcpy(p, a.v, sizeof a.v); } \
    static inline void type##_stream(element *p, VEC a) { type##_store(p, a); }        \
    static inline void type##_store_n(element *p, VEC a, int n) {                      \
        for (int i = 0; i < n; i++) p[i] = a.v[i];                                     \
    }                                                                                  \
    static inline element type##_sum(VEC a) {                                          \
        for (int half = LANES / 2; half; half /= 2)                                    \
            for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];                    \
        return a.v[0];                                                                 \
    }                                                                                  \
    static inline void type##_fold4(VEC a, VEC b, VEC c, VEC d, element sums[4]) {     \
        sums[0] = type##_sum(a);                                                       \
        sums[1] = type##_sum(b);                                                       \
        sums[2] = type##_sum(c);                                                       \
        sums[3] = type##_sum(d);                                                       \
    }

#define VEC f32_vec
#define LANES 16
OPERATIONS(f32, float, fmaf, fabsf)
#undef VEC
#undef LANES

#define VEC f64_vec
#define LANES 8
OPERATIONS(f64, double, fma, fabs)
LANEWISE(f64_div, (VEC a, VEC b), a.v[i] / b.v[i])
LANEWISE(f64_sqrt, (VEC a), sqrt(a.v[i]))
LANEWISE(f32_widen, (const float *p), p[i])
LANEWISE(f64_widen, (const double *p), p[i])
#undef VEC
#undef LANES

static inline void f32_narrow(float *p, f64_vec a) {
    for (int i = 0; i < 8; i++) p[i] = (float)a.v[i];
}
static inline void f64_narrow(double *p, f64_vec a) { f64_store(p, a); }
static inline int f64_within(f64_vec a, double low, double high) {
    int all = 1;
    for (int i = 0; i < 8; i++) all &= a.v[i] >= low && a.v[i] <= high;
    return all;
}

static inline void stream_fence(void) {}

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
        for (int i = 0; i < 16; i++) r.v[i] = i < n ? name##_widen(p[i]) : 0;             \
        return r;                                                                         \
    }                                                                                     \
    static inline f32_vec name##_load(const uint16_t *p) { return name##_load_n(p, 16); } \
    static inline void name##_store_n(uint16_t *p, f32_vec a, int n) {                    \
        for (int i = 0; i < n; i++) p[i] = name##_narrow(a.v[i]);                         \
    }                                                                                     \
    static inline void name##_store(uint16_t *p, f32_vec a) { name##_store_n(p, a, 16); } \
    static inline void name##_stream(uint16_t *p, f32_vec a) { name##_store(p, a); }
HALF(f16)
HALF(bf16)

#endif
