/* vec_neon.h: one vector is four q registers. aarch64. What each operation does: vec_avx512.h. */
#ifndef FASTLN_VEC_H
#define FASTLN_VEC_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "compiler.h"

/* Four registers a vector are unrolling enough: more of it is a third more code, and takes twice as long to compile. */
#undef UNROLL4
#define UNROLL4

typedef struct { float32x4_t q[4]; } f32_vec;
typedef struct { float64x2_t q[4]; } f64_vec;

/* A function of each q register. */
#define EACH(type, q0, q1, q2, q3) ((type){{q0, q1, q2, q3}})
#define EACH1(type, f, a) EACH(type, f(a.q[0]), f(a.q[1]), f(a.q[2]), f(a.q[3]))
#define EACH2(type, f, a, b) EACH(type, f(a.q[0], b.q[0]), f(a.q[1], b.q[1]), f(a.q[2], b.q[2]), f(a.q[3], b.q[3]))
#define EACH3(type, f, c, a, b)                                                                 \
    EACH(type, f(c.q[0], a.q[0], b.q[0]), f(c.q[1], a.q[1], b.q[1]), f(c.q[2], a.q[2], b.q[2]), \
         f(c.q[3], a.q[3], b.q[3]))

static inline f32_vec f32_set1(float s) {
    float32x4_t v = vdupq_n_f32(s);
    return EACH(f32_vec, v, v, v, v);
}
static inline f32_vec f32_add(f32_vec a, f32_vec b) { return EACH2(f32_vec, vaddq_f32, a, b); }
static inline f32_vec f32_sub(f32_vec a, f32_vec b) { return EACH2(f32_vec, vsubq_f32, a, b); }
static inline f32_vec f32_mul(f32_vec a, f32_vec b) { return EACH2(f32_vec, vmulq_f32, a, b); }
static inline f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return EACH3(f32_vec, vfmaq_f32, c, a, b); }
static inline f32_vec f32_fnma(f32_vec a, f32_vec b, f32_vec c) { return EACH3(f32_vec, vfmsq_f32, c, a, b); }
static inline f32_vec f32_abs(f32_vec a) { return EACH1(f32_vec, vabsq_f32, a); }
static inline f32_vec f32_max(f32_vec a, f32_vec b) { return EACH2(f32_vec, vmaxq_f32, a, b); }
static inline f32_vec f32_div(f32_vec a, f32_vec b) { return EACH2(f32_vec, vdivq_f32, a, b); }
static inline f32_vec f32_min(f32_vec a, f32_vec b) { return EACH2(f32_vec, vminq_f32, a, b); }
static inline float32x4_t f32_shift_up(float32x4_t a) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a), 23));
}
static inline f32_vec f32_power2(f32_vec k) {
    f32_vec sum = f32_add(k, f32_set1(0x1.8p23f + 127));
    return EACH1(f32_vec, f32_shift_up, sum);
}
static inline float32x4_t f32_choose(float32x4_t x, float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(x)), a, b);
}
static inline f32_vec f32_if_negative(f32_vec x, f32_vec a, f32_vec b) { return EACH3(f32_vec, f32_choose, x, a, b); }

static inline f64_vec f64_set1(double s) {
    float64x2_t v = vdupq_n_f64(s);
    return EACH(f64_vec, v, v, v, v);
}
static inline f64_vec f64_add(f64_vec a, f64_vec b) { return EACH2(f64_vec, vaddq_f64, a, b); }
static inline f64_vec f64_sub(f64_vec a, f64_vec b) { return EACH2(f64_vec, vsubq_f64, a, b); }
static inline f64_vec f64_mul(f64_vec a, f64_vec b) { return EACH2(f64_vec, vmulq_f64, a, b); }
static inline f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return EACH3(f64_vec, vfmaq_f64, c, a, b); }
static inline f64_vec f64_fnma(f64_vec a, f64_vec b, f64_vec c) { return EACH3(f64_vec, vfmsq_f64, c, a, b); }
static inline f64_vec f64_abs(f64_vec a) { return EACH1(f64_vec, vabsq_f64, a); }
static inline f64_vec f64_max(f64_vec a, f64_vec b) { return EACH2(f64_vec, vmaxq_f64, a, b); }
static inline f64_vec f64_div(f64_vec a, f64_vec b) { return EACH2(f64_vec, vdivq_f64, a, b); }
static inline f64_vec f64_min(f64_vec a, f64_vec b) { return EACH2(f64_vec, vminq_f64, a, b); }
static inline float64x2_t f64_shift_up(float64x2_t a) {
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(a), 52));
}
static inline f64_vec f64_power2(f64_vec k) {
    f64_vec sum = f64_add(k, f64_set1(0x1.8p52 + 1023));
    return EACH1(f64_vec, f64_shift_up, sum);
}
static inline float64x2_t f64_choose(float64x2_t x, float64x2_t a, float64x2_t b) {
    return vbslq_f64(vcltzq_s64(vreinterpretq_s64_f64(x)), a, b);
}
static inline f64_vec f64_if_negative(f64_vec x, f64_vec a, f64_vec b) { return EACH3(f64_vec, f64_choose, x, a, b); }
static inline f64_vec f64_sqrt(f64_vec a) { return EACH1(f64_vec, vsqrtq_f64, a); }
static inline int f64_within(f64_vec a, double low, double high) {
    uint64x2_t all = vdupq_n_u64(~(uint64_t)0);
    for (int i = 0; i < 4; i++) {
        all = vandq_u64(all, vcgeq_f64(a.q[i], vdupq_n_f64(low)));
        all = vandq_u64(all, vcleq_f64(a.q[i], vdupq_n_f64(high)));
    }
    return (vgetq_lane_u64(all, 0) & vgetq_lane_u64(all, 1)) != 0;
}

static inline f64_vec f32_widen(const float *p) {
    return EACH(f64_vec, vcvt_f64_f32(vld1_f32(p)), vcvt_f64_f32(vld1_f32(p + 2)), vcvt_f64_f32(vld1_f32(p + 4)),
                vcvt_f64_f32(vld1_f32(p + 6)));
}
static inline void f32_narrow(float *p, f64_vec a) {
    for (int i = 0; i < 4; i++) vst1_f32(p + 2 * i, vcvt_f32_f64(a.q[i]));
}
static inline f64_vec f64_widen(const double *p) {
    return EACH(f64_vec, vld1q_f64(p), vld1q_f64(p + 2), vld1q_f64(p + 4), vld1q_f64(p + 6));
}
static inline void f64_narrow(double *p, f64_vec a) {
    for (int i = 0; i < 4; i++) vst1q_f64(p + 2 * i, a.q[i]);
}

static inline f32_vec f32_load(const float *p) {
    return EACH(f32_vec, vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12));
}
static inline void f32_store(float *p, f32_vec a) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.q[i]);
}
static inline f64_vec f64_load(const double *p) {
    return EACH(f64_vec, vld1q_f64(p), vld1q_f64(p + 2), vld1q_f64(p + 4), vld1q_f64(p + 6));
}
static inline void f64_store(double *p, f64_vec a) {
    for (int i = 0; i < 4; i++) vst1q_f64(p + 2 * i, a.q[i]);
}

static inline float32x4_t f16_widen(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
static inline uint16x4_t f16_narrow(float32x4_t a) { return vreinterpret_u16_f16(vcvt_f16_f32(a)); }
static inline float32x4_t bf16_widen(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }
static inline uint16x4_t bf16_narrow(float32x4_t a) {
    uint32x4_t u = vreinterpretq_u32_f32(a);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(u, 16), vdupq_n_u32(1));
    uint32x4_t near = vaddq_u32(u, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    near = vbslq_u32(vceqq_f32(a, a), near, vorrq_u32(u, vdupq_n_u32(0x400000)));
    return vshrn_n_u32(near, 16);
}
#define HALF_LOAD_STORE(name)                                                                                         \
    static inline f32_vec name##_load(const uint16_t *p) {                                                            \
        return EACH(f32_vec, name##_widen(vld1_u16(p)), name##_widen(vld1_u16(p + 4)), name##_widen(vld1_u16(p + 8)), \
                    name##_widen(vld1_u16(p + 12)));                                                                  \
    }                                                                                                                 \
    static inline void name##_store(uint16_t *p, f32_vec a) {                                                         \
        for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, name##_narrow(a.q[i]));                                       \
    }
HALF_LOAD_STORE(f16)
HALF_LOAD_STORE(bf16)

/* Stores that pass the caches are a hint that compilers do not give here. */
static inline void f32_stream(float *p, f32_vec a) { f32_store(p, a); }
static inline void f64_stream(double *p, f64_vec a) { f64_store(p, a); }
static inline void f16_stream(uint16_t *p, f32_vec a) { f16_store(p, a); }
static inline void bf16_stream(uint16_t *p, f32_vec a) { bf16_store(p, a); }
static inline void stream_fence(void) {}

/* There are no masked loads or stores: tails go through a copy. */
#define TAILS(name, element, vec, lanes)                          \
    static inline vec name##_load_n(const element *p, int n) {    \
        element copy[lanes] = {0};                                \
        memcpy(copy, p, (size_t)n * sizeof *p);                   \
        return name##_load(copy);                                 \
    }                                                             \
    static inline void name##_store_n(element *p, vec a, int n) { \
        element copy[lanes];                                      \
        name##_store(copy, a);                                    \
        memcpy(p, copy, (size_t)n * sizeof *p);                   \
    }
TAILS(f32, float, f32_vec, 16)
TAILS(f64, double, f64_vec, 8)
TAILS(f16, uint16_t, f32_vec, 16)
TAILS(bf16, uint16_t, f32_vec, 16)

#define FILLS(name, element, vec, lanes)                     \
    static inline vec name##_fill(vec a, int n, element s) { \
        element copy[lanes];                                 \
        name##_store(copy, a);                               \
        for (int i = n; i < lanes; i++) copy[i] = s;         \
        return name##_load(copy);                            \
    }                                                        \
    static inline vec name##_keep(vec a, int n) { return name##_fill(a, n, 0); }
FILLS(f32, float, f32_vec, 16)
FILLS(f64, double, f64_vec, 8)

static inline float32x4_t f32_quarter(f32_vec a) {
    return vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
}
static inline float32x4_t f32_pair(f32_vec a, f32_vec b) {
    float32x4_t x = f32_quarter(a), y = f32_quarter(b);
    return vaddq_f32(vcombine_f32(vget_low_f32(x), vget_low_f32(y)), vcombine_f32(vget_high_f32(x), vget_high_f32(y)));
}
static inline void f32_fold4(f32_vec a, f32_vec b, f32_vec c, f32_vec d, float sums[4]) {
    float32x4_t ab = f32_pair(a, b), cd = f32_pair(c, d);
    vst1q_f32(sums, vaddq_f32(vuzp1q_f32(ab, cd), vuzp2q_f32(ab, cd)));
}
static inline float64x2_t f64_quarter(f64_vec a) {
    return vaddq_f64(vaddq_f64(a.q[0], a.q[2]), vaddq_f64(a.q[1], a.q[3]));
}
static inline float64x2_t f64_pair(f64_vec a, f64_vec b) {
    float64x2_t x = f64_quarter(a), y = f64_quarter(b);
    return vaddq_f64(vuzp1q_f64(x, y), vuzp2q_f64(x, y));
}
static inline void f64_fold4(f64_vec a, f64_vec b, f64_vec c, f64_vec d, double sums[4]) {
    vst1q_f64(sums, f64_pair(a, b));
    vst1q_f64(sums + 2, f64_pair(c, d));
}

#endif
