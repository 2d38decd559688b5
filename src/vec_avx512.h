/* vec_avx512.h: one vector is one zmm register. Needs AVX-512 F, BW, DQ, VL.
 *
 * Every vec header has the same operations with the same results, bit for bit: 16 lanes of float, 8 of double,
 * whatever the width of the registers. `n` counts lanes from the first; memory past them is not touched. */
#ifndef FASTLN_VEC_H
#define FASTLN_VEC_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 f32_vec;
typedef __m512d f64_vec;

static inline __mmask16 f32_first(int n) { return (__mmask16)((1u << n) - 1); }
static inline __mmask8 f64_first(int n) { return (__mmask8)((1u << n) - 1); }

static inline f32_vec f32_set1(float s) { return _mm512_set1_ps(s); }
static inline f32_vec f32_add(f32_vec a, f32_vec b) { return _mm512_add_ps(a, b); }
static inline f32_vec f32_sub(f32_vec a, f32_vec b) { return _mm512_sub_ps(a, b); }
static inline f32_vec f32_mul(f32_vec a, f32_vec b) { return _mm512_mul_ps(a, b); }
static inline f32_vec f32_fma(f32_vec a, f32_vec b, f32_vec c) { return _mm512_fmadd_ps(a, b, c); }   /* a * b + c */
static inline f32_vec f32_fnma(f32_vec a, f32_vec b, f32_vec c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a * b */
static inline f32_vec f32_abs(f32_vec a) { return _mm512_abs_ps(a); }
static inline f32_vec f32_max(f32_vec a, f32_vec b) { return _mm512_max_ps(a, b); } /* not defined for NaN */
static inline f32_vec f32_keep(f32_vec a, int n) { return _mm512_maskz_mov_ps(f32_first(n), a); } /* rest: 0 */
static inline f32_vec f32_fill(f32_vec a, int n, float s) {                                       /* rest: s */
    return _mm512_mask_mov_ps(_mm512_set1_ps(s), f32_first(n), a);
}

static inline f32_vec f32_div(f32_vec a, f32_vec b) { return _mm512_div_ps(a, b); }
static inline f32_vec f32_min(f32_vec a, f32_vec b) { return _mm512_min_ps(a, b); } /* a NaN in b stays; none in a */
/* 2^k, for whole k from the least normal exponent to the largest: the sum has k, biased, in its last bits. */
static inline f32_vec f32_power2(f32_vec k) {
    __m512i u = _mm512_castps_si512(_mm512_add_ps(k, _mm512_set1_ps(0x1.8p23f + 127)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(u, 23));
}
static inline f32_vec f32_if_negative(f32_vec x, f32_vec a, f32_vec b) { /* a where x has its sign set, else b */
    return _mm512_mask_mov_ps(b, _mm512_movepi32_mask(_mm512_castps_si512(x)), a);
}

static inline f64_vec f64_set1(double s) { return _mm512_set1_pd(s); }
static inline f64_vec f64_add(f64_vec a, f64_vec b) { return _mm512_add_pd(a, b); }
static inline f64_vec f64_sub(f64_vec a, f64_vec b) { return _mm512_sub_pd(a, b); }
static inline f64_vec f64_mul(f64_vec a, f64_vec b) { return _mm512_mul_pd(a, b); }
static inline f64_vec f64_fma(f64_vec a, f64_vec b, f64_vec c) { return _mm512_fmadd_pd(a, b, c); }
static inline f64_vec f64_fnma(f64_vec a, f64_vec b, f64_vec c) { return _mm512_fnmadd_pd(a, b, c); }
static inline f64_vec f64_abs(f64_vec a) { return _mm512_abs_pd(a); }
static inline f64_vec f64_max(f64_vec a, f64_vec b) { return _mm512_max_pd(a, b); }
static inline f64_vec f64_keep(f64_vec a, int n) { return _mm512_maskz_mov_pd(f64_first(n), a); }
static inline f64_vec f64_fill(f64_vec a, int n, double s) {
    return _mm512_mask_mov_pd(_mm512_set1_pd(s), f64_first(n), a);
}
static inline f64_vec f64_div(f64_vec a, f64_vec b) { return _mm512_div_pd(a, b); }
static inline f64_vec f64_min(f64_vec a, f64_vec b) { return _mm512_min_pd(a, b); }
static inline f64_vec f64_power2(f64_vec k) {
    __m512i u = _mm512_castpd_si512(_mm512_add_pd(k, _mm512_set1_pd(0x1.8p52 + 1023)));
    return _mm512_castsi512_pd(_mm512_slli_epi64(u, 52));
}
static inline f64_vec f64_if_negative(f64_vec x, f64_vec a, f64_vec b) {
    return _mm512_mask_mov_pd(b, _mm512_movepi64_mask(_mm512_castpd_si512(x)), a);
}
static inline f64_vec f64_sqrt(f64_vec a) { return _mm512_sqrt_pd(a); }
static inline int f64_within(f64_vec a, double low, double high) { /* whether all lanes are; a NaN is not */
    __mmask8 above = _mm512_cmp_pd_mask(a, _mm512_set1_pd(low), _CMP_GE_OQ);
    return _mm512_mask_cmp_pd_mask(above, a, _mm512_set1_pd(high), _CMP_LE_OQ) == 0xff;
}

/* Eight values of a type, from and to double. */
static inline f64_vec f32_widen(const float *p) { /* two loads, for the values were often just stored in two parts */
    return _mm512_cvtps_pd(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4), 1));
}
static inline void f32_narrow(float *p, f64_vec a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }
static inline f64_vec f64_widen(const double *p) { return _mm512_loadu_pd(p); }
static inline void f64_narrow(double *p, f64_vec a) { _mm512_storeu_pd(p, a); }

/* Loads and stores, one set per dtype. The half types widen to float and round to nearest even. */
static inline f32_vec f32_load(const float *p) { return _mm512_loadu_ps(p); }
static inline f32_vec f32_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(f32_first(n), p); }
static inline void f32_store(float *p, f32_vec a) { _mm512_storeu_ps(p, a); }
static inline void f32_store_n(float *p, f32_vec a, int n) { _mm512_mask_storeu_ps(p, f32_first(n), a); }

/* Past the caches, where p is aligned to the size of what is stored; other threads see it after a fence. */
static inline void f32_stream(float *p, f32_vec a) { _mm512_stream_ps(p, a); }
static inline void f64_stream(double *p, f64_vec a) { _mm512_stream_pd(p, a); }
static inline void stream_fence(void) { _mm_sfence(); }

static inline f64_vec f64_load(const double *p) { return _mm512_loadu_pd(p); }
static inline f64_vec f64_load_n(const double *p, int n) { return _mm512_maskz_loadu_pd(f64_first(n), p); }
static inline void f64_store(double *p, f64_vec a) { _mm512_storeu_pd(p, a); }
static inline void f64_store_n(double *p, f64_vec a, int n) { _mm512_mask_storeu_pd(p, f64_first(n), a); }

static inline __m256i f16_narrow(f32_vec a) {
    return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline f32_vec f16_load(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p)); }
static inline f32_vec f16_load_n(const uint16_t *p, int n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(f32_first(n), p));
}
static inline void f16_store(uint16_t *p, f32_vec a) { _mm256_storeu_si256((void *)p, f16_narrow(a)); }
static inline void f16_stream(uint16_t *p, f32_vec a) { _mm256_stream_si256((void *)p, f16_narrow(a)); }
static inline void f16_store_n(uint16_t *p, f32_vec a, int n) {
    _mm256_mask_storeu_epi16(p, f32_first(n), f16_narrow(a));
}

static inline f32_vec bf16_widen(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
/* Not the BF16 extension's conversion: that one flushes subnormals. */
static inline __m256i bf16_narrow(f32_vec a) {
    __m512i u = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    near = _mm512_mask_or_epi32(near, nan, u, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(near, 16));
}
static inline f32_vec bf16_load(const uint16_t *p) { return bf16_widen(_mm256_loadu_si256((const void *)p)); }
static inline f32_vec bf16_load_n(const uint16_t *p, int n) {
    return bf16_widen(_mm256_maskz_loadu_epi16(f32_first(n), p));
}
static inline void bf16_store(uint16_t *p, f32_vec a) { _mm256_storeu_si256((void *)p, bf16_narrow(a)); }
static inline void bf16_stream(uint16_t *p, f32_vec a) { _mm256_stream_si256((void *)p, bf16_narrow(a)); }
static inline void bf16_store_n(uint16_t *p, f32_vec a, int n) {
    _mm256_mask_storeu_epi16(p, f32_first(n), bf16_narrow(a));
}

/* The sums of four vectors at once. The order is the contract: lane i + lane i+8, then i+4, i+2, i+1 (double: from
 * i+4 on). */
static inline void f32_fold4(f32_vec a, f32_vec b, f32_vec c, f32_vec d, float sums[4]) {
    f32_vec ab = f32_add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    f32_vec cd = f32_add(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    f32_vec s = f32_add(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    s = f32_add(s, _mm512_permute_ps(s, 0x4e));
    s = f32_add(s, _mm512_permute_ps(s, 0xb1));
    s = _mm512_permutexvar_ps(_mm512_set_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 8, 4, 0), s);
    _mm_storeu_ps(sums, _mm512_castps512_ps128(s));
}
static inline void f64_fold4(f64_vec a, f64_vec b, f64_vec c, f64_vec d, double sums[4]) {
    f64_vec ab = f64_add(_mm512_shuffle_f64x2(a, b, 0x44), _mm512_shuffle_f64x2(a, b, 0xee));
    f64_vec cd = f64_add(_mm512_shuffle_f64x2(c, d, 0x44), _mm512_shuffle_f64x2(c, d, 0xee));
    f64_vec s = f64_add(_mm512_shuffle_f64x2(ab, cd, 0x88), _mm512_shuffle_f64x2(ab, cd, 0xdd));
    s = f64_add(s, _mm512_permute_pd(s, 0x55));
    s = _mm512_permutexvar_pd(_mm512_set_epi64(0, 0, 0, 0, 6, 4, 2, 0), s);
    _mm256_storeu_pd(sums, _mm512_castpd512_pd256(s));
}

#endif
