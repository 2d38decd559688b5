"""The exact results that fastln is measured against. Knows nothing of fastln.

The formulas are written once, over numbers of about twice the precision of what they judge: float64 for the formats
that compute in float32, and for float64 `Pair`, a number of 106 bits made of two doubles, whose operations are
error-free transformations on whole arrays. Three things keep the error near 2^-45, or 2^-95, whatever the data
(test_oracle.py compares with rational numbers):

- rows are scaled by powers of two, so that nothing overflows and no square underflows;
- the row's first value is subtracted first, so that a mean far away costs no bits;
- eps is brought to the scale of the deviations, not to that of the values.
"""

from typing import NamedTuple

import numpy as np


def two_sum(a, b):
    """a + b as a double and its rounding error (Knuth)."""
    s = a + b
    t = s - a
    return Pair(s, (a - (s - t)) + (b - t))


def quick_two_sum(a, b):
    """two_sum for |a| >= |b| (Dekker)."""
    s = a + b
    return Pair(s, b - (s - a))


def split(a):
    """a as the sum of two doubles of 26 bits (Veltkamp)."""
    t = 134217729.0 * a  # 2^27 + 1
    high = t - (t - a)
    return high, a - high


def two_prod(a, b):
    """a * b as a double and its rounding error (Dekker)."""
    p = a * b
    (a1, a2), (b1, b2) = split(a), split(b)
    return Pair(p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2)


class Pair:
    """hi + lo, arrays of doubles, with |lo| at most half a unit in the last place of hi."""

    def __init__(self, hi, lo=None):
        self.hi, self.lo = hi, np.zeros_like(hi) if lo is None else lo

    shape = property(lambda self: self.hi.shape)

    def __getitem__(self, key):
        return Pair(self.hi[key], self.lo[key])

    def __neg__(self):
        return Pair(-self.hi, -self.lo)

    def __add__(self, other):
        s = two_sum(self.hi, other.hi)
        return quick_two_sum(s.hi, s.lo + (self.lo + other.lo))

    def __sub__(self, other):
        return self + -other

    def __mul__(self, other):
        p = two_prod(self.hi, other.hi)
        return quick_two_sum(p.hi, p.lo + (self.hi * other.lo + self.lo * other.hi))

    def __truediv__(self, other):
        q = Pair(self.hi / other.hi)
        rest = self - q * other
        return quick_two_sum(q.hi, rest.hi / other.hi)


def high(a):
    """The double nearest to each number."""
    return a.hi if isinstance(a, Pair) else a


def low(a):
    """What is missing to the exact number there."""
    return a.lo if isinstance(a, Pair) else 0.0


def like(a, values):
    """Doubles as numbers of a's kind."""
    return Pair(np.asarray(values)) if isinstance(a, Pair) else np.asarray(values)


def join(a, b):
    if isinstance(a, Pair):
        return Pair(np.hstack([a.hi, b.hi]), np.hstack([a.lo, b.lo]))
    return np.hstack([a, b])


def where(mask, a, b):
    if isinstance(a, Pair):
        return Pair(np.where(mask, a.hi, b.hi), np.where(mask, a.lo, b.lo))
    return np.where(mask, a, b)


def ldexp(a, k):
    with np.errstate(over="ignore"):
        return Pair(np.ldexp(a.hi, k), np.ldexp(a.lo, k)) if isinstance(a, Pair) else np.ldexp(a, k)


def sqrt(a):
    """Of numbers > 0."""
    s = np.sqrt(high(a))
    return quick_two_sum(s, (a - two_prod(s, s)).hi / (2 * s)) if isinstance(a, Pair) else s


def total(a):
    """The sums of the rows, as a column, by halving: an error of log2(N) roundings of the sum of magnitudes."""
    while a.shape[1] > 1:
        half = a.shape[1] // 2
        rest = a[:, 2 * half :]
        a = a[:, :half] + a[:, half : 2 * half]
        if rest.shape[1]:
            a = join(a[:, :-1], a[:, -1:] + rest)
    return a


def exponent(a):
    """k with max|a| < 2^k per row, as a column; 0 for a row of zeros."""
    return np.frexp(np.abs(high(a)).max(axis=1, keepdims=True))[1]


class Moments(NamedTuple):
    """What rows (R, N) have before eps comes in. Every number carries a factor of 2^-exponent."""

    x: Pair | np.ndarray  # (R, N)
    x_exponent: np.ndarray
    deviation: Pair | np.ndarray  # (R, N), x - mean; not centred: x
    deviation_exponent: np.ndarray
    mean: Pair | np.ndarray  # (R, 1), with x_exponent
    variance: Pair | np.ndarray  # (R, 1), with twice deviation_exponent; not centred: the mean square

    @property
    def in_contract(self):
        """(R,): the mean is at most 1e6 standard deviations from zero, or the row has no spread."""
        mean, sigma = np.abs(high(self.mean)), np.sqrt(high(self.variance))
        return ((mean <= np.ldexp(1e6 * sigma, self.deviation_exponent - self.x_exponent)) | (sigma == 0)).ravel()


def moments(x, centred=True):
    """Of rows of any dtype that fastln takes; x stays exact."""
    wide = x.dtype == np.float64
    x = x.astype(np.float64)
    x_exponent = exponent(x)
    x = np.ldexp(x, -x_exponent)
    x = Pair(x) if wide else x
    n = like(x, np.full((len(x_exponent), 1), float(x.shape[1])))
    if centred:
        away = x - x[:, :1]
        shift = total(away) / n
        mean = x[:, :1] + shift
        deviation = away - shift
    else:
        mean = like(x, np.zeros((len(x_exponent), 1)))
        deviation = x
    down = exponent(deviation)
    deviation = ldexp(deviation, -down)
    variance = total(deviation * deviation) / n
    return Moments(x, x_exponent, deviation, x_exponent + down, mean, variance)


class Exact(NamedTuple):
    """The results for rows (R, N): t before weight and bias (R, N); mean, rstd and standard deviation (R, 1)."""

    t: Pair | np.ndarray
    mean: Pair | np.ndarray
    rstd: Pair | np.ndarray
    sigma: np.ndarray


def normalize(m, eps, subtract_mean=True):
    """t = (x - mean) / sqrt(variance + eps), 0 in a row without spread; subtract_mean=False: x / sqrt(variance + eps).

    A number that float64 can't hold is an infinity.
    """
    deviation_exponent = np.where(high(m.variance) > 0, m.deviation_exponent, -5000)
    common = np.maximum(deviation_exponent, np.frexp(np.sqrt(eps))[1] if eps else -5000)
    radicand = ldexp(m.variance, 2 * (m.deviation_exponent - common))
    radicand = radicand + like(radicand, np.ldexp(np.full(common.shape, eps), -2 * common))
    degenerate = high(radicand) == 0  # neither spread nor eps
    one = like(radicand, np.ones(common.shape))
    rstd = one / sqrt(where(degenerate, one, radicand))
    if subtract_mean:
        t = ldexp(m.deviation, m.deviation_exponent - common) * rstd
    else:
        t = ldexp(m.x * rstd, m.x_exponent - common)
    rstd = where(degenerate, like(rstd, np.full(common.shape, np.inf)), ldexp(rstd, -common))
    sigma = np.ldexp(np.sqrt(high(m.variance)), m.deviation_exponent)
    return Exact(t, ldexp(m.mean, m.x_exponent), rstd, sigma)


def given(x, mean, rstd):
    """t = (x - mean) * rstd of rows (R, N), mean and rstd (R, 1) being doubles or, for float64, Pairs as well."""
    wide = x.dtype == np.float64
    x = x.astype(np.float64)
    mean, rstd = (a if isinstance(a, Pair) or not wide else Pair(np.asarray(a, np.float64)) for a in (mean, rstd))
    k = np.maximum(exponent(x), exponent(mean))
    x = np.ldexp(x, -k)
    deviation = (Pair(x) if wide else x) - ldexp(mean, -k)
    down, of_rstd = exponent(deviation), exponent(rstd)
    return ldexp(ldexp(deviation, -down) * ldexp(rstd, -of_rstd), k + down + of_rstd)


def rstd_of(variance, eps, wide):
    """1 / sqrt(variance + eps) of doubles; wide: as a Pair."""
    if not wide:
        return 1 / np.sqrt(variance + eps)
    return Pair(np.ones_like(variance)) / sqrt(two_sum(variance, np.full_like(variance, eps)))


def ada(t, c, minus_ck):
    """AdaNorm: t * (c - c * k * t)."""
    return t * affine(t, np.float64(minus_ck) * np.ones(t.shape), np.float64(c) * np.ones(t.shape))


def affine(t, weight=None, bias=None):
    """t * weight + bias, of vectors that float64 holds exactly."""
    with np.errstate(invalid="ignore"):  # what is infinite times 0
        if weight is not None:
            t = t * like(t, weight.astype(np.float64))
        if bias is not None:
            t = t + like(t, bias.astype(np.float64))
    return t
