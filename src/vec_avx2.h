/* vec_avx2.h: one vector is two ymm registers. Needs AVX2, FMA, F16C. What each operation does: vec_avx512.h. */
#ifndef FASTLN_VEC_H
#define FASTLN_VEC_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "compiler.h"

typedef struct { __m256 lo, hi; } f32_vec;
typedef struct { __m256d lo, hi; } f64_vec;

#define F32_EACH(call_lo, call_hi) ((f32_vec){call_lo, call_hi})
#define F64_EACH(call_lo, call_hi) ((f64_vec){call_lo, call_hi})

/* Masks of the first n lanes: a window into ones followed by zeros. */
static const int32_t f32_ones[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
static const int64_t f64_ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
static inline __m256i f32_first_lo(int n) { return _mm256_loadu_si256((const void *)(f32_ones + 16 - n)); }
static inline __m256i f32_first_hi(int n) { return _mm256_loadu_si256((const void *)(f32_ones + 24 - n)); }
static inline __m256i f64_first_lo(int n) { return _mm256_loadu_si256((const void *)(f64_ones + 8 - n)); }
static inline __m256i f64_first_hi(int n) { return _mm256_loadu_si256((const void *)(f64_ones + 12 - n)); }

static inline f32_vec f32_set1(float s) { return F32_EACH(_mm256_set1_ps(s), _mm256_set1_ps(s)); }
static inline f32_vec f32_add(f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi));
}
static inline f32_vec f32_sub(f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi));
}
static inline f32_vec f32_mul(f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi));
}
static inline f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) {
    return F32_EACH(_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi));
}
static inline f32_vec f32_fnma(f32_vec a, f32_vec b, f32_vec c) {
    return F32_EACH(_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi));
}
static inline f32_vec f32_abs(f32_vec a) {
    __m256 sign = _mm256_set1_ps(-0.0f);
    return F32_EACH(_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi));
}
static inline f32_vec f32_max(f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi));
}
static inline f32_vec f32_fill(f32_vec a, int n, float s) {
    __m256 lo = _mm256_castsi256_ps(f32_first_lo(n)), hi = _mm256_castsi256_ps(f32_first_hi(n));
    return F32_EACH(_mm256_blendv_ps(_mm256_set1_ps(s), a.lo, lo), _mm256_blendv_ps(_mm256_set1_ps(s), a.hi, hi));
}
static inline f32_vec f32_keep(f32_vec a, int n) { return f32_fill(a, n, 0); }
static inline f32_vec f32_div(f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi));
}
static inline f32_vec f32_min(f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi));
}
static inline __m256 f32_shift_up(__m256 a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
}
static inline f32_vec f32_power2(f32_vec k) {
    f32_vec sum = f32_add(k, f32_set1(0x1.8p23f + 127));
    return F32_EACH(f32_shift_up(sum.lo), f32_shift_up(sum.hi));
}
static inline f32_vec f32_if_negative(f32_vec x, f32_vec a, f32_vec b) {
    return F32_EACH(_mm256_blendv_ps(b.lo, a.lo, x.lo), _mm256_blendv_ps(b.hi, a.hi, x.hi));
}

static inline f64_vec f64_set1(double s) { return F64_EACH(_mm256_set1_pd(s), _mm256_set1_pd(s)); }
static inline f64_vec f64_add(f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi));
}
static inline f64_vec f64_sub(f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi));
}
static inline f64_vec f64_mul(f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi));
}
static inline f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) {
    return F64_EACH(_mm256_fmadd_pd(a.lo, b.lo, c.lo), _mm256_fmadd_pd(a.hi, b.hi, c.hi));
}
static inline f64_vec f64_fnma(f64_vec a, f64_vec b, f64_vec c) {
    return F64_EACH(_mm256_fnmadd_pd(a.lo, b.lo, c.lo), _mm256_fnmadd_pd(a.hi, b.hi, c.hi));
}
static inline f64_vec f64_abs(f64_vec a) {
    __m256d sign = _mm256_set1_pd(-0.0);
    return F64_EACH(_mm256_andnot_pd(sign, a.lo), _mm256_andnot_pd(sign, a.hi));
}
static inline f64_vec f64_max(f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_max_pd(a.lo, b.lo), _mm256_max_pd(a.hi, b.hi));
}
static inline f64_vec f64_fill(f64_vec a, int n, double s) {
    __m256d lo = _mm256_castsi256_pd(f64_first_lo(n)), hi = _mm256_castsi256_pd(f64_first_hi(n));
    return F64_EACH(_mm256_blendv_pd(_mm256_set1_pd(s), a.lo, lo), _mm256_blendv_pd(_mm256_set1_pd(s), a.hi, hi));
}
static inline f64_vec f64_keep(f64_vec a, int n) { return f64_fill(a, n, 0); }
static inline f64_vec f64_div(f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_div_pd(a.lo, b.lo), _mm256_div_pd(a.hi, b.hi));
}
static inline f64_vec f64_min(f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_min_pd(a.lo, b.lo), _mm256_min_pd(a.hi, b.hi));
}
static inline __m256d f64_shift_up(__m256d a) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a), 52));
}
static inline f64_vec f64_power2(f64_vec k) {
    f64_vec sum = f64_add(k, f64_set1(0x1.8p52 + 1023));
    return F64_EACH(f64_shift_up(sum.lo), f64_shift_up(sum.hi));
}
static inline f64_vec f64_if_negative(f64_vec x, f64_vec a, f64_vec b) {
    return F64_EACH(_mm256_blendv_pd(b.lo, a.lo, x.lo), _mm256_blendv_pd(b.hi, a.hi, x.hi));
}
static inline f64_vec f64_sqrt(f64_vec a) { return F64_EACH(_mm256_sqrt_pd(a.lo), _mm256_sqrt_pd(a.hi)); }
static inline int f64_within(f64_vec a, double low, double high) {
    __m256d l = _mm256_set1_pd(low), h = _mm256_set1_pd(high);
    __m256d above = _mm256_and_pd(_mm256_cmp_pd(a.lo, l, _CMP_GE_OQ), _mm256_cmp_pd(a.hi, l, _CMP_GE_OQ));
    __m256d below = _mm256_and_pd(_mm256_cmp_pd(a.lo, h, _CMP_LE_OQ), _mm256_cmp_pd(a.hi, h, _CMP_LE_OQ));
    return _mm256_movemask_pd(_mm256_and_pd(above, below)) == 0xf;
}

static inline f64_vec f32_widen(const float *p) {
    return F64_EACH(_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4)));
}
static inline void f32_narrow(float *p, f64_vec a) {
    _mm_storeu_ps(p, _mm256_cvtpd_ps(a.lo));
    _mm_storeu_ps(p + 4, _mm256_cvtpd_ps(a.hi));
}
static inline f64_vec f64_widen(const double *p) { return F64_EACH(_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)); }
static inline void f64_narrow(double *p, f64_vec a) {
    _mm256_storeu_pd(p, a.lo);
    _mm256_storeu_pd(p + 4, a.hi);
}

static inline f32_vec f32_load(const float *p) { return F32_EACH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
static inline f32_vec f32_load_n(const float *p, int n) {
    return F32_EACH(_mm256_maskload_ps(p, f32_first_lo(n)), _mm256_maskload_ps(p + 8, f32_first_hi(n)));
}
static inline void f32_store(float *p, f32_vec a) {
    _mm256_storeu_ps(p, a.lo);
    _mm256_storeu_ps(p + 8, a.hi);
}
/* Piece by piece, as a masked store is dozens of instructions to AMD's processors. */
static inline void f32_store_n(float *p, f32_vec a, int n) {
    if (n == 16) {
        f32_store(p, a);
        return;
    }
    __m256 v = a.lo;
    if (n >= 8) {
        _mm256_storeu_ps(p, v);
        p += 8, v = a.hi;
    }
    __m128 part = _mm256_castps256_ps128(v);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        p += 4, part = _mm256_extractf128_ps(v, 1);
    }
    if (n & 2) {
        _mm_storel_pi((void *)p, part);
        p += 2, part = _mm_movehl_ps(part, part);
    }
    if (n & 1) _mm_store_ss(p, part);
}

static inline void f32_stream(float *p, f32_vec a) {
    _mm256_stream_ps(p, a.lo);
    _mm256_stream_ps(p + 8, a.hi);
}
static inline void f64_stream(double *p, f64_vec a) {
    _mm256_stream_pd(p, a.lo);
    _mm256_stream_pd(p + 4, a.hi);
}
static inline void stream_fence(void) { _mm_sfence(); }

static inline f64_vec f64_load(const double *p) { return F64_EACH(_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)); }
static inline f64_vec f64_load_n(const double *p, int n) {
    return F64_EACH(_mm256_maskload_pd(p, f64_first_lo(n)), _mm256_maskload_pd(p + 4, f64_first_hi(n)));
}
static inline void f64_store(double *p, f64_vec a) {
    _mm256_storeu_pd(p, a.lo);
    _mm256_storeu_pd(p + 4, a.hi);
}
/* A double is two floats here, of which nothing is computed. */
static inline void f64_store_n(double *p, f64_vec a, int n) {
    f32_store_n((void *)p, F32_EACH(_mm256_castpd_ps(a.lo), _mm256_castpd_ps(a.hi)), 2 * n);
}

typedef struct { __m128i lo, hi; } half_vec;
static inline __m256 f16_widen(__m128i h) { return _mm256_cvtph_ps(h); }
static inline half_vec f16_narrow(f32_vec a) {
    return (half_vec){_mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT),
                      _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT)};
}
static inline __m256 bf16_widen(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
static inline __m256i bf16_quiet(__m256 a) { /* a NaN is one still without its lower half */
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)), u = _mm256_castps_si256(a);
    __m256i high = _mm256_and_si256(u, _mm256_set1_epi32((int)0xffff0000));
    return _mm256_blendv_epi8(u, _mm256_or_si256(high, _mm256_set1_epi32(0x400000)), nan);
}
/* The higher halves, one more where a lower half, 0x7fff and the last bit of the higher have a carry, which an average
 * keeps. The values of a.lo and a.hi come by turns until the end. */
static inline half_vec bf16_narrow(f32_vec a) {
    __m256i u = _mm256_castps_si256(a.lo), v = _mm256_castps_si256(a.hi);
    if (_mm256_movemask_ps(_mm256_cmp_ps(a.lo, a.hi, _CMP_UNORD_Q))) u = bf16_quiet(a.lo), v = bf16_quiet(a.hi);
    __m256i higher = _mm256_blend_epi16(_mm256_srli_epi32(u, 16), v, 0xaa);
    __m256i lower = _mm256_blend_epi16(u, _mm256_slli_epi32(v, 16), 0xaa);
    __m256i odd = _mm256_and_si256(higher, _mm256_set1_epi16(1));
    __m256i average = _mm256_avg_epu16(lower, _mm256_or_si256(odd, _mm256_set1_epi16(0x7ffe)));
    __m256i near = _mm256_add_epi16(higher, _mm256_srli_epi16(average, 15));
    __m256i turns = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, /* both halves */
                                     0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    near = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(near, turns), 0xd8);
    return (half_vec){_mm256_castsi256_si128(near), _mm256_extracti128_si256(near, 1)};
}

/* There is no 16-bit masked load or store. n < 8 values, read from both ends, written piece by piece. */
static NOINLINE __m128i half_load_some(const uint16_t *p, int n) {
    uint64_t begin = 0, end = 0;
    if (n >= 4) {
        memcpy(&begin, p, 8);
        memcpy(&end, p + n - 4, 8);
        end = n == 4 ? 0 : end >> 16 * (8 - n);
    } else {
        for (int i = 0; i < n; i++) begin |= (uint64_t)p[i] << 16 * i;
    }
    return _mm_set_epi64x((long long)end, (long long)begin);
}
static NOINLINE void half_store_some(uint16_t *p, __m128i a, int n) {
    uint64_t part = (uint64_t)_mm_cvtsi128_si64(a);
    if (n & 4) {
        memcpy(p, &part, 8);
        p += 4, part = (uint64_t)_mm_extract_epi64(a, 1);
    }
    if (n & 2) {
        memcpy(p, &part, 4);
        p += 2, part >>= 32;
    }
    if (n & 1) *p = (uint16_t)part;
}
static inline __m128i half_load_n(const uint16_t *p, int n) {
    return n >= 8 ? _mm_loadu_si128((const void *)p) : n > 0 ? half_load_some(p, n) : _mm_setzero_si128();
}
static inline void half_store_n(uint16_t *p, __m128i a, int n) {
    if (n >= 8)
        _mm_storeu_si128((void *)p, a);
    else if (n > 0)
        half_store_some(p, a, n);
}

#define HALF_ACCESS(name)                                                                          \
    static inline f32_vec name##_load(const uint16_t *p) {                                         \
        return F32_EACH(name##_widen(_mm_loadu_si128((const void *)p)),                            \
                        name##_widen(_mm_loadu_si128((const void *)(p + 8))));                     \
    }                                                                                              \
    static inline void name##_store(uint16_t *p, f32_vec a) {                                      \
        half_vec h = name##_narrow(a);                                                             \
        _mm_storeu_si128((void *)p, h.lo);                                                         \
        _mm_storeu_si128((void *)(p + 8), h.hi);                                                   \
    }                                                                                              \
    static inline void name##_stream(uint16_t *p, f32_vec a) {                                     \
        half_vec h = name##_narrow(a);                                                             \
        _mm_stream_si128((void *)p, h.lo);                                                         \
        _mm_stream_si128((void *)(p + 8), h.hi);                                                   \
    }                                                                                              \
    static inline f32_vec name##_load_n(const uint16_t *p, int n) {                                \
        return F32_EACH(name##_widen(half_load_n(p, n)), name##_widen(half_load_n(p + 8, n - 8))); \
    }                                                                                              \
    static inline void name##_store_n(uint16_t *p, f32_vec a, int n) {                             \
        half_vec h = name##_narrow(a);                                                             \
        half_store_n(p, h.lo, n);                                                                  \
        half_store_n(p + 8, h.hi, n - 8);                                                          \
    }
HALF_ACCESS(f16)
HALF_ACCESS(bf16)

static inline void f32_fold4(f32_vec a, f32_vec b, f32_vec c, f32_vec d, float sums[4]) {
    __m256 a8 = _mm256_add_ps(a.lo, a.hi), b8 = _mm256_add_ps(b.lo, b.hi);
    __m256 c8 = _mm256_add_ps(c.lo, c.hi), d8 = _mm256_add_ps(d.lo, d.hi);
    __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(a8, b8, 0x20), _mm256_permute2f128_ps(a8, b8, 0x31));
    __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(c8, d8, 0x20), _mm256_permute2f128_ps(c8, d8, 0x31));
    __m256 s = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    s = _mm256_add_ps(_mm256_shuffle_ps(s, s, 0x88), _mm256_shuffle_ps(s, s, 0xdd)); /* a c a c, b d b d */
    _mm_storeu_ps(sums, _mm_unpacklo_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
static inline void f64_fold4(f64_vec a, f64_vec b, f64_vec c, f64_vec d, double sums[4]) {
    __m256d a4 = _mm256_add_pd(a.lo, a.hi), b4 = _mm256_add_pd(b.lo, b.hi);
    __m256d c4 = _mm256_add_pd(c.lo, c.hi), d4 = _mm256_add_pd(d.lo, d.hi);
    __m256d ab = _mm256_add_pd(_mm256_permute2f128_pd(a4, b4, 0x20), _mm256_permute2f128_pd(a4, b4, 0x31));
    __m256d cd = _mm256_add_pd(_mm256_permute2f128_pd(c4, d4, 0x20), _mm256_permute2f128_pd(c4, d4, 0x31));
    __m256d s = _mm256_add_pd(_mm256_unpacklo_pd(ab, cd), _mm256_unpackhi_pd(ab, cd)); /* a c, b d */
    _mm256_storeu_pd(sums, _mm256_permute4x64_pd(s, 0xd8));
}

#endif
