"""The error that the numerics contract allows, to the last bit: the unit is u = 2^-23 for the types that compute in
float32 and 2^-52 for float64, and t, the normalized value before weight and bias, obeys |t - T| <= 4 u max(1, |T|)."""

import numpy as np

import oracle


def allowance(t, exact, fmt, weight, bias):
    """How far a result in the compute type may be from `exact` = T * weight + bias; T and exact as doubles.

    y is t itself, or fma(t, weight, bias), which is rounded once. The error of t arrives multiplied by the weight; the
    rounding adds half a unit in the last place of y, at most u / 2 * |y|, or half of the smallest number. There is no
    term for bias, which is exact."""
    of_t = 4 * fmt.unit * np.maximum(1, np.abs(t))
    if weight is None and bias is None:
        return of_t
    if weight is not None:
        with np.errstate(invalid="ignore"):  # what is infinite times 0
            of_t = of_t * np.abs(weight.astype(np.float64))
    return of_t + fmt.unit / 2 * (np.abs(exact) + of_t) + fmt.compute_smallest / 2


def ada_allowance(t, exact, fmt, c, minus_ck):
    """The same for y = t * fma(t, -ck, c): the error of t goes in twice; then there are two roundings."""
    of_t = 4 * fmt.unit * np.maximum(1, np.abs(t))
    inner = np.abs(c + minus_ck * t) + np.abs(minus_ck) * of_t
    of_y = np.abs(c + 2 * minus_ck * t) * of_t + np.abs(minus_ck) * of_t**2
    return of_y + fmt.unit / 2 * (inner * (np.abs(t) + of_t) + np.abs(exact) + of_y) + fmt.compute_smallest


def in_units(y, t, fmt, weight=None, bias=None):
    """The error of every value as a fraction of what is allowed. y: results; t: the oracle's t."""
    exact = oracle.affine(t, weight, bias)
    return units_of(y, exact, allowance(oracle.high(t), oracle.high(exact), fmt, weight, bias), fmt)


def units_of(y, exact, allowed, fmt):
    """The distance from the exact results as a fraction of what is allowed."""
    if fmt.is_half:
        return half_in_units(y, exact, allowed, fmt)
    wide = y.astype(np.float64)
    nearest = oracle.high(exact)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs((wide - nearest) - oracle.low(exact))
        error = np.where(error == 0, 0, error / allowed)
    # A result that overflows must be one that rounding may carry past the largest number.
    at_the_top = np.abs(nearest) / 2 + allowed / 2 >= fmt.compute_max / 2
    return np.where(np.isinf(wide) & (np.sign(wide) == np.sign(nearest)) & at_the_top, 0, error)


def half_in_units(y, exact, allowed, fmt):
    """A half must be what some float32 within the allowance rounds to: 0 if it is, inf if not."""
    # A float32 is always there: the allowance is at least half a unit in the last place of `exact`.
    with np.errstate(over="ignore", invalid="ignore"):
        low = toward(exact - allowed, np.inf).astype(fmt.dtype).astype(np.float64)
        high = toward(exact + allowed, -np.inf).astype(fmt.dtype).astype(np.float64)
    wide = y.astype(np.float64)
    return np.where((low <= wide) & (wide <= high), 0, np.inf)


def toward(a, direction):
    """The float32 nearest to a on the side of `direction`, a itself if it is one."""
    f = a.astype(np.float32)
    wrong_side = f < a if direction > 0 else f > a
    return np.where(wrong_side, np.nextafter(f, np.float32(direction)), f)


def assert_holds(y, t, fmt, weight=None, bias=None, rows=None, context="", names=None):
    """y (R, N) obeys the contract in the rows of the mask `rows`. names: of the rows, for the message."""
    assert y.dtype == fmt.dtype
    assert y.shape == t.shape
    units = in_units(y, t, fmt, weight, bias)
    bad = ~(units <= 1)  # NaN is bad
    if rows is not None:
        bad &= np.asarray(rows)[:, None]
    if bad.any():
        row, i = np.argwhere(bad)[0]
        exact = oracle.high(oracle.affine(t, weight, bias))[row, i]
        name = f" ({names[row]})" if names else ""
        raise AssertionError(
            f"{context}: {bad.sum()} values in {bad.any(axis=1).sum()} rows break the contract; the first, "
            f"row {row}{name} value {i}, is {y[row, i]!r} for {exact!r}, {units[row, i]:.3g} times the error allowed"
        )


def assert_stats_hold(mean, rstd, exact, fmt, rows=None, context=""):
    """rstd within 4 units; mean within 2 units of itself or of a standard deviation, the larger of the two."""
    rows = np.ones(rstd.shape, bool) if rows is None else np.asarray(rows)
    exact_rstd, exact_mean = np.ravel(oracle.high(exact.rstd)), np.ravel(oracle.high(exact.mean))
    assert rstd.dtype == fmt.compute
    got = rstd.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf in rows that are not looked at
        error = np.abs((got - exact_rstd) - np.ravel(oracle.low(exact.rstd)))
        overflow = np.isinf(got) & (exact_rstd * (1 + 4 * fmt.unit) >= fmt.compute_max)
        bad = rows & ~((error <= 4 * fmt.unit * exact_rstd + fmt.compute_smallest) | overflow)
    assert not bad.any(), f"{context}: rstd {rstd[bad][0]!r} for {exact_rstd[bad][0]!r} in row {np.argmax(bad)}"
    if mean is not None:
        assert mean.dtype == fmt.compute
        error = np.abs((mean.astype(np.float64) - exact_mean) - np.ravel(oracle.low(exact.mean)))
        allowed = 2 * fmt.unit * np.maximum(np.abs(exact_mean), np.ravel(exact.sigma)) + fmt.compute_smallest
        bad = rows & ~(error <= allowed)
        assert not bad.any(), f"{context}: mean {mean[bad][0]!r} for {exact_mean[bad][0]!r} in row {np.argmax(bad)}"


def assert_moments_hold(mean, var, m, fmt, rows=None, context=""):
    """Mean and variance, float64 of any format, within 4 units: the variance of itself, the mean of itself or of a
    standard deviation, the larger of the two. m: the oracle's moments."""
    assert mean.dtype == var.dtype == np.float64
    rows = np.ones(var.shape, bool) if rows is None else np.asarray(rows)
    exact_mean = oracle.ldexp(m.mean, m.x_exponent)
    exact_var = oracle.ldexp(m.variance, 2 * m.deviation_exponent)
    with np.errstate(over="ignore", invalid="ignore"):
        sigma = np.ldexp(np.sqrt(oracle.high(m.variance)), m.deviation_exponent)
        largest = np.maximum(np.abs(oracle.high(exact_mean)), sigma)
        for name, got, exact, size in (
            ("mean", mean, exact_mean, largest),
            ("var", var, exact_var, oracle.high(exact_var)),
        ):
            nearest, size = np.ravel(oracle.high(exact)), np.ravel(size)
            error = np.abs((got - nearest) - np.ravel(oracle.low(exact)))
            fine = (error <= 4 * fmt.unit * size + 2.0**-1074) | ((got == nearest) & np.isinf(nearest))
            bad = rows & ~fine
            assert not bad.any(), f"{context}: {name} {got[bad][0]!r} for {nearest[bad][0]!r} in row {np.argmax(bad)}"
