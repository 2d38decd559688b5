/* activations.inc.h: tanh, the logistic function and the rectifier, over the vec operations of REAL: the same bits on
 * every instruction set.
 *
 * Both functions are quotients of e^z with z <= 0, which neither overflow nor cancel:
 *
 *   tanh |x|  = (1 - e^z) / (1 + e^z)    z = -2 |x|
 *   sigmoid x = 1 / (1 + e^z)            z = -|x|, x >= 0
 *             = e^z / (1 + e^z)                    x < 0
 *
 * e^z is 2^k (1 + p), and p = e^r - 1 with |r| <= ln(2) / 2 is the sum of its Taylor series. What rounding loses on the
 * way is carried along in a second number. Of all floats the worst is off by 0.77 ulp for sigmoid and by 1.42 for tanh,
 * which is just below 1 there; 2 is what the tests allow. */

#if LANES == 16
#define TERMS 7 /* the first that is left out is below 2^-30 of the sum */
#define LN2_HI 0x1.62e4p-1f
#define LN2_LO 0x1.7f7d1cp-20f
#define WHOLE 0x1.8p23f /* adding this rounds to an integer */
#define VANISHED 104    /* e to the power of minus that is 0 */
#else
#define TERMS 13 /* 2^-61 */
#define LN2_HI 0x1.62e42fefap-1
#define LN2_LO 0x1.cf79abc9e3b3ap-40
#define WHOLE 0x1.8p52
#define VANISHED 746
#endif

typedef struct { VEC k, p, low; } N(exponential); /* e^z = 2^k (1 + p + low) */

INLINE VEC N(whole)(VEC a) { return V(sub)(V(add)(a, V(set1)(WHOLE)), V(set1)(WHOLE)); }

INLINE N(exponential) N(exponential_of)(VEC z) {
    static const REAL factor[] = {(REAL)(1 / 2.),          (REAL)(1 / 6.),         (REAL)(1 / 24.),
                                  (REAL)(1 / 120.),        (REAL)(1 / 720.),       (REAL)(1 / 5040.),
                                  (REAL)(1 / 40320.),      (REAL)(1 / 362880.),    (REAL)(1 / 3628800.),
                                  (REAL)(1 / 39916800.),   (REAL)(1 / 479001600.), (REAL)(1 / 6227020800.),
                                  (REAL)(1 / 87178291200.)};
    VEC k = N(whole)(V(mul)(z, V(set1)((REAL)0x1.71547652b82fep+0)));
    VEC above = V(fnma)(k, V(set1)(LN2_HI), z); /* exact: LN2_HI ends in zeros */
    VEC r = V(fnma)(k, V(set1)(LN2_LO), above), r_low = V(fnma)(k, V(set1)(LN2_LO), V(sub)(above, r));
    VEC sum = V(set1)(factor[TERMS - 1]);
    UNROLL4 for (int i = TERMS - 2; i >= 0; i--) sum = V(fma)(sum, r, V(set1)(factor[i]));
    VEC rest = V(fma)(V(mul)(r, r), sum, r_low), p = V(add)(r, rest);
    return (N(exponential)){k, p, V(sub)(rest, V(sub)(p, r))};
}

/* (a + a_low) / (b + b_low) */
INLINE VEC N(quotient)(VEC a, VEC a_low, VEC b, VEC b_low) {
    VEC inverse = V(div)(V(set1)(1), b), q = V(mul)(a, inverse);
    VEC rest = V(add)(V(fnma)(q, b, a), V(fnma)(q, b_low, a_low));
    return V(fma)(rest, inverse, q);
}

INLINE VEC N(tanh)(VEC x) {
    /* From 20 on it is 1. */
    N(exponential) e = N(exponential_of)(V(mul)(V(min)(V(set1)(20), V(abs)(x)), V(set1)(-2)));
    VEC zero = V(set1)(0), scale = V(power2)(e.k), one_less = V(sub)(scale, V(set1)(1)), p = V(mul)(scale, e.p);
    VEC minus = V(add)(one_less, p), low = V(fma)(scale, e.low, V(sub)(p, V(sub)(minus, one_less))); /* e^z - 1 */
    VEC plus = V(add)(minus, V(set1)(2)), plus_low = V(add)(V(sub)(minus, V(sub)(plus, V(set1)(2))), low);
    VEC size = N(quotient)(V(sub)(zero, minus), V(sub)(zero, low), plus, plus_low);
    return V(if_negative)(x, V(mul)(size, V(set1)(-1)), size);
}

INLINE VEC N(sigmoid)(VEC x) {
    VEC one = V(set1)(1);
    N(exponential) e = N(exponential_of)(V(mul)(V(min)(V(set1)(VANISHED), V(abs)(x)), V(set1)(-1)));
    /* 2^k in two factors: it may be less than the least normal number. */
    VEC half = N(whole)(V(mul)(e.k, V(set1)((REAL)0.5)));
    VEC scale = V(power2)(half), other = V(power2)(V(sub)(e.k, half)), both = V(mul)(scale, other);
    VEC u = V(add)(one, e.p), u_low = V(add)(e.low, V(sub)(e.p, V(sub)(u, one)));
    VEC power = V(mul)(both, u), plus = V(add)(one, power);
    VEC plus_low = V(fma)(both, u_low, V(sub)(power, V(sub)(plus, one)));
    VEC q = N(quotient)(V(if_negative)(x, u, one), V(if_negative)(x, u_low, V(set1)(0)), plus, plus_low);
    return V(if_negative)(x, V(mul)(V(mul)(q, scale), other), q);
}

/* max(x, 0), and a NaN stays. */
INLINE VEC N(relu)(VEC x) { return V(sub)(V(set1)(0), V(min)(V(set1)(0), V(mul)(x, V(set1)(-1)))); }

#undef TERMS
#undef LN2_HI
#undef LN2_LO
#undef WHOLE
#undef VANISHED
