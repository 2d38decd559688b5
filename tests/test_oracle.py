"""The oracle against rational arithmetic, and the check of the contract against results with a known error."""

from fractions import Fraction

import ml_dtypes
import mpmath
import numpy as np
import pytest

import contract
import oracle
import vectors

mpmath.mp.prec = 500


def rational(row):
    return [Fraction(float(v)) for v in row]


def exact_statistics(row, centred):
    """Mean and biased variance (rms: mean square) of a list of Fractions."""
    mean = sum(row) / len(row) if centred else Fraction(0)
    return mean, sum((v - mean) ** 2 for v in row) / len(row)


def as_mpf(fraction):
    return mpmath.mpf(fraction.numerator) / fraction.denominator


def as_fraction(number, index):
    parts = (np.broadcast_to(part, number.shape) for part in (oracle.high(number), oracle.low(number)))
    return sum(Fraction(float(part[index])) for part in parts)


def assert_close(number, index, exact, least=0):
    """`exact` (mpf), give or take 2^-90 (float64 arithmetic: 2^-45) of it or of `least`: nothing beside the rounding
    unit of 2^-52 (2^-23) of the results that are judged."""
    bits = 90 if isinstance(number, oracle.Pair) else 45
    assert abs(as_mpf(as_fraction(number, index)) - exact) <= mpmath.mpf(2) ** -bits * max(least, abs(exact))


@pytest.mark.parametrize("centred", [True, False], ids=["layer_norm", "rms_norm"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 33, 130])
@pytest.mark.parametrize("fmt", vectors.FORMATS, ids=str)
def test_against_rational_arithmetic(fmt, n, centred):
    x = vectors.rows(fmt, n)
    m = oracle.moments(x, centred)
    for eps in (*vectors.EPS, 1.0, 1e-300):
        result = oracle.normalize(m, eps)
        for row, values in enumerate(map(rational, x)):
            mean, variance = exact_statistics(values, centred)
            if variance + Fraction(eps) == 0:
                assert not oracle.high(result.t)[row].any()
                continue
            sigma = mpmath.sqrt(as_mpf(variance + Fraction(eps)))
            for i in {0, 1, n // 2, n - 1} & set(range(n)):
                assert_close(result.t, (row, i), as_mpf(values[i] - mean) / sigma, least=1)
            assert_close(result.mean, (row, 0), as_mpf(mean), least=mpmath.sqrt(as_mpf(variance)) + mpmath.mpf(1e-290))
            if 1 / sigma < 1e308:
                assert_close(result.rstd, (row, 0), 1 / sigma, least=mpmath.mpf(1e-290))


@pytest.mark.parametrize("fmt", vectors.FORMATS, ids=str)
def test_without_subtracting_the_mean(fmt):
    x = vectors.rows(fmt, 37)
    m = oracle.moments(x)
    result = oracle.normalize(m, 1e-5, subtract_mean=False)
    for row, values in enumerate(map(rational, x)):
        _, variance = exact_statistics(values, True)
        sigma = mpmath.sqrt(as_mpf(variance + Fraction(1e-5)))
        for i, v in enumerate(values):
            if abs(as_mpf(v) / sigma) < 1e308:
                assert_close(result.t, (row, i), as_mpf(v) / sigma, least=1)
            else:
                assert abs(oracle.high(result.t)[row, i]) > 1e307


def test_a_long_row():
    """Integers, whose sums can be had exactly: 1,000,003 of them, two million times their spread from zero."""
    x = 2e6 + np.arange(vectors.HUGE, dtype=np.float64)[None] % 3
    m = oracle.moments(x)
    values = x[0].astype(int).tolist()
    mean = Fraction(sum(values), len(values))
    variance = Fraction(sum(v * v for v in values), len(values)) - mean**2
    result = oracle.normalize(m, 0.0)
    assert_close(result.mean, (0, 0), as_mpf(mean))
    assert_close(result.rstd, (0, 0), 1 / mpmath.sqrt(as_mpf(variance)))
    for i in (0, 1, vectors.HUGE - 1):
        assert_close(result.t, (0, i), as_mpf(values[i] - mean) / mpmath.sqrt(as_mpf(variance)))


def test_affine():
    rng = np.random.default_rng(1)
    t = oracle.Pair(rng.standard_normal((3, 50))) / oracle.Pair(rng.standard_normal((3, 50)))
    weight, bias = rng.standard_normal((2, 50)) * 100
    got = oracle.affine(t, weight, bias)
    for i in np.ndindex(3, 50):
        exact = as_fraction(t, i) * Fraction(weight[i[1]]) + Fraction(bias[i[1]])
        assert abs(as_fraction(got, i) - exact) <= Fraction(2) ** -95 * (abs(exact) + abs(Fraction(bias[i[1]])))


@pytest.mark.parametrize("fmt", vectors.FORMATS, ids=str)
def test_families_stay_within_the_contract(fmt):
    """Rows further than 1e6 standard deviations from zero are not checked for accuracy: they must be few."""
    outside = total = 0
    for n in (2, 3, 5, 16, 100, 1000):
        x = vectors.rows(fmt, n)
        assert np.isfinite(x.astype(np.float64)).all()
        assert len(x) == len(vectors.FAMILIES)
        outside += (~oracle.moments(x).in_contract).sum()
        total += len(x)
    assert outside <= 0.04 * total


@pytest.mark.parametrize("fmt", [f for f in vectors.FORMATS if not f.is_half], ids=str)
@pytest.mark.parametrize("affine", vectors.AFFINE)
def test_the_check_accepts_4_units_and_no_more(fmt, affine):
    x = vectors.generator(fmt, 64).standard_normal((8, 64)).astype(fmt.dtype) * 3
    t = oracle.normalize(oracle.moments(x), 1e-5).t
    weight, bias = (
        p if used else None for p, used in zip(vectors.parameters(fmt, 64), vectors.AFFINE[affine], strict=True)
    )
    for units, holds in ((3.4, True), (-3.4, True), (5.1, False), (-5.1, False)):
        wrong = t + oracle.like(t, units * fmt.unit * np.maximum(1, np.abs(oracle.high(t))))
        y = oracle.high(oracle.affine(wrong, weight, bias)).astype(fmt.dtype)
        found = contract.in_units(y, t, fmt, weight, bias)
        if holds:
            assert (found <= 1).all()
        else:
            assert (found > 1).any()
            with pytest.raises(AssertionError, match="break the contract"):
                contract.assert_holds(y, t, fmt, weight, bias)


@pytest.mark.parametrize("fmt", [f for f in vectors.FORMATS if f.is_half], ids=str)
def test_the_check_accepts_one_rounding_and_no_more(fmt):
    x = vectors.generator(fmt, 64).standard_normal((8, 640)).astype(fmt.dtype)
    t = oracle.normalize(oracle.moments(x), 1e-5).t
    y = t.astype(np.float32).astype(fmt.dtype)
    contract.assert_holds(y, t, fmt)
    off_by_one = (y.view(np.uint16) + 1).view(fmt.dtype)
    assert (contract.in_units(off_by_one, t, fmt) > 1).mean() > 0.99
    truncated = (t.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32).astype(ml_dtypes.bfloat16)
    if fmt.name == "bfloat16":
        assert 0.4 < (contract.in_units(truncated, t, fmt) > 1).mean() < 0.6
    nan = y.copy()
    nan[3, 3] = np.nan
    with pytest.raises(AssertionError, match="row 3 value 3"):
        contract.assert_holds(nan, t, fmt)
