"""moments, merge_moments, batch_moments and update_running."""

import itertools

import numpy as np
import pytest

import contract
import fastln
import isas
import oracle
import vectors
from test_same_bits import LAYOUTS, assert_same, nasty_rows
from vectors import FORMATS

every_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)


@every_format
def test_accuracy(fmt, isa):
    """Every family; all scales. Instruction sets give the same bits, also as columns."""
    lengths = [*range(1, 40), *vectors.around_pairs(fmt, (2, 4, 8)), 768, 1021, 5003, 100_003]
    for n in lengths:
        x = vectors.rows(fmt, n, 27 if n < 3000 else 6)
        mean, var = fastln.moments(x)
        if isa == "scalar":
            m = oracle.moments(x)
            contract.assert_moments_hold(mean, var, m, fmt, m.in_contract, f"length {n}")
        else:
            with isas.using("scalar"):
                assert_same([mean, var], fastln.moments(x), f"length {n}")
        assert_same(fastln.moments(np.ascontiguousarray(x.T), axis=0), [mean, var], f"length {n}, columns")


@every_format
def test_extremes(fmt, isa):
    """Scales whose squares are out of range of the format, but not of float64."""
    rng = vectors.generator(fmt, 3)
    for n in (2, 5, 16, 33, 100, 1025, 70_001):
        largest = fmt.cast(rng.choice([-1, 1], n) * rng.uniform(0.5, 1, n) * min(fmt.max, 1e150))
        tiny = fmt.cast(rng.integers(-5, 6, n) * max(fmt.smallest, 1e-150))
        x = np.stack([largest, tiny, fmt.cast(np.abs(largest.astype(float)))])
        mean, var = fastln.moments(x)
        assert np.isfinite(var).all()
        assert (var[[0, 2]] > 0).all() or n < 5
        m = oracle.moments(x)
        contract.assert_moments_hold(mean, var, m, fmt, m.in_contract, f"length {n}")


@every_format
def test_constant_rows(fmt, isa):
    """No spread at all, and the very value; NaN and infinities make both NaN, and no other row."""
    for n in (1, 2, 5, 16, 37, 256, 1025, 9001):
        x = np.repeat(vectors.constants(fmt)[:, None], n, axis=1)
        for axis, array in ((1, x), (0, np.ascontiguousarray(x.T)), (1, np.repeat(x, 2, axis=1)[:, ::2])):
            mean, var = fastln.moments(array, axis=axis)
            np.testing.assert_array_equal(mean, x[:, 0].astype(np.float64), f"{n} axis={axis}")
            assert (var == 0).all(), f"{n} axis={axis}"
        for bad in (np.nan, np.inf, -np.inf):
            y = x.copy()
            y[1, n // 2] = y[4, 0] = bad
            for array, axis in ((y, 1), (np.ascontiguousarray(y.T), 0)):
                got = np.isnan(fastln.moments(array, axis=axis))
                np.testing.assert_array_equal(got, np.isin(np.arange(len(x)), [1, 4]) * np.ones((2, 1), bool))


@every_format
def test_layouts(fmt, isa):
    for n in (1, 3, 16, 33, 100, 1025, 9001):
        x = nasty_rows(fmt, n, 7)
        expected = fastln.moments(x)
        for name, lay_out in LAYOUTS.items():
            assert_same(fastln.moments(lay_out(x.copy())), expected, f"{n} {name}")
        assert_same([a[0] for a in expected], [np.float64(a) for a in fastln.moments(x[0])])
        cube = x[:6].reshape(2, 3, n)
        got = fastln.moments(np.ascontiguousarray(np.moveaxis(cube, -1, 1)), axis=1)
        assert_same([a.reshape(6) for a in got], [a[:6] for a in expected], f"{n}")
    x = nasty_rows(fmt, 60, 7).reshape(7, 3, 4, 5)
    expected = fastln.moments(x.reshape(7, 60))
    assert_same(fastln.moments(x, axis=(3, 1, -2)), expected)
    assert_same(fastln.moments(np.asfortranarray(x), axis=(1, 2, 3)), expected)
    assert [a.shape for a in fastln.moments(x, axis=(0, 1, 2, 3))] == [(), ()]


def test_integers_and_empty_arrays():
    x = np.random.default_rng(1).integers(0, 256, (5, 40))
    expected = fastln.moments(x.astype(np.float64))
    for a in (x, x.astype(np.uint8), x.astype(">i4"), x.tolist(), np.asfortranarray(x)):
        assert_same(fastln.moments(a), expected)
    for shape, axis, kept in (((3, 0), -1, (3,)), ((0, 3), -1, (0,)), ((0, 3), 0, (3,)), ((2, 0, 3), (0, 1), (3,))):
        mean, var = fastln.moments(np.zeros(shape, np.float16), axis=axis)
        assert mean.shape == var.shape == kept
        assert mean.dtype == var.dtype == np.float64
        assert np.isnan([mean, var]).all()


@every_format
def test_batch_moments(fmt, isa):
    for samples, channels, places in ((3, 5, ()), (2, 4, (33,)), (4, 64, (3, 5)), (1, 2, (5003,)), (0, 3, (2,))):
        rows = nasty_rows(fmt, max(samples * int(np.prod(places)), 1), channels)[:, : samples * int(np.prod(places))]
        x = np.ascontiguousarray(rows.reshape(channels, samples, *places).swapaxes(0, 1))
        expected = fastln.moments(rows)
        assert_same(fastln.batch_moments(x), expected)
        assert_same(fastln.batch_moments(np.ascontiguousarray(np.moveaxis(x, 1, -1)), axis=-1), expected)
        assert_same(fastln.batch_moments(np.moveaxis(x, 1, 0), axis=0), expected)
    mean, var = fastln.batch_moments([3.0, 5.0], axis=0)
    assert_same([mean, var], [np.array([3.0, 5.0]), np.zeros(2)])


# ----------------------------------------------------------------------------------------------------------------------
# Merging


@pytest.mark.parametrize("fmt", FORMATS[:2], ids=str)
def test_merged_pieces(fmt):
    """Cut anywhere, rows have the moments of the whole. Means in float64 cost what they are further off than a
    deviation."""
    for n in (1, 2, 10, 100, 1000, 4099):
        x = vectors.rows(fmt, n)
        m = oracle.moments(x)
        moderate = (np.abs(x.astype(np.float64)).max(axis=1) < 1e100) & m.in_contract
        cuts = [0, 0, n // 7, n // 3, n // 3, n - n // 5, n]
        pieces = [x[:, a:b] for a, b in itertools.pairwise(cuts)]
        counts = [piece.shape[1] for piece in pieces]
        means, variances = np.swapaxes([fastln.moments(piece) for piece in pieces], 0, 1)
        for axis in (0, 1):
            with np.errstate(over="ignore"):  # of rows that are not looked at
                count, mean, var = fastln.merge_moments(
                    counts, np.moveaxis(means, 0, axis), np.moveaxis(variances, 0, axis), axis=axis
                )
            assert (count == n).all()
            if fmt.name == "float32":
                contract.assert_moments_hold(mean, var, m, fmt, moderate, f"length {n}")
                continue
            exact_mean = oracle.high(oracle.ldexp(m.mean, m.x_exponent)).ravel()
            with np.errstate(all="ignore"):
                exact_var = np.ldexp(oracle.high(m.variance), 2 * m.deviation_exponent).ravel()
                away = np.abs(exact_mean) / np.sqrt(exact_var)
                error = np.abs(var - exact_var) / exact_var
            # Squares of deviations that are no normal numbers have no relative accuracy.
            rows = moderate & (exact_var > 1e-290)
            assert (error <= 8 * fmt.unit * (1 + away))[rows].all(), f"length {n}"
            allowed = np.maximum(
                8 * fmt.unit * np.abs(x).max(axis=1), len(pieces) * np.finfo(np.float64).smallest_subnormal
            )
            assert (np.abs(mean - exact_mean) <= allowed)[moderate].all()


def test_merging_axes_and_counts():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((12, 3, 4)) + 1e6
    whole = fastln.moments(x, axis=0)
    pieces = [x[:5], x[5:5], x[5:6], x[6:]]
    means, variances = np.swapaxes([fastln.moments(p, axis=0) for p in pieces], 0, 1)  # of nothing: NaN
    full = np.broadcast_to(np.array([5, 0, 1, 6])[:, None, None], means.shape)
    for counts in ([5, 0, 1, 6], np.array([5, 0, 1, 6], np.uint8), full, full[:, :1, :1], full.astype(np.float32)):
        for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
            axis = order.index(0)
            given = np.transpose(counts, order) if np.ndim(counts) == 3 else counts
            count, mean, var = fastln.merge_moments(
                given, means.transpose(order), variances.transpose(order), axis=axis - 3 * (axis > 0)
            )
            rest = [i for i in order if i]
            assert mean.shape == var.shape == count.shape == tuple(x.shape[i] for i in rest)
            assert (count == 12).all()
            expected = [a if rest == [1, 2] else a.T for a in whole]
            np.testing.assert_allclose(mean, expected[0], rtol=1e-15)
            np.testing.assert_allclose(var, expected[1], rtol=1e-8)


def test_merging_what_is_not_there():
    count, mean, var = fastln.merge_moments([0, 0], [1.0, np.nan], [0.0, np.nan])
    assert count == 0
    assert np.isnan(mean)
    assert np.isnan(var)
    assert fastln.merge_moments([0, 3, 0], [np.nan, 7.0, np.inf], [np.nan, 2.0, np.nan]) == (3, 7, 2)
    count, mean, var = fastln.merge_moments([2, 3], [7.0, np.nan], [1.0, 1.0])
    assert count == 5
    assert np.isnan([mean, var]).all()
    count, mean, var = fastln.merge_moments(np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2)))
    assert mean.shape == (2,)
    assert np.isnan([mean, var]).all()


# ----------------------------------------------------------------------------------------------------------------------
# Running statistics


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_update_running(dtype):
    """PyTorch: new * momentum, with the unbiased variance. ONNX: running * momentum, with the biased one."""
    for count in (2, 3, 1000):
        mean, var = np.array([1.0, -2.0, 1e4]), np.array([0.5, 3.0, 1e3])
        old_mean, old_var = np.array([[3, 4, 5.0], [6, 7, 8]]).astype(dtype)
        for momentum, unbiased in ((0.1, True), (1.0, True), (0.25, False), (0.0, False)):
            running_mean, running_var = old_mean.copy(), old_var.copy()
            result = fastln.update_running(
                running_mean, running_var, mean, var, count, momentum=momentum, unbiased=unbiased
            )
            assert result is None
            if unbiased:
                factor = count / (count - 1)
                expected_mean = old_mean.astype(float) * (1 - momentum) + mean * momentum
                expected_var = old_var.astype(float) * (1 - momentum) + var * factor * momentum
            else:
                of_onnx = 1 - momentum
                expected_mean = old_mean.astype(float) * of_onnx + mean * (1 - of_onnx)
                expected_var = old_var.astype(float) * of_onnx + var * (1 - of_onnx)
            assert running_mean.dtype == running_var.dtype == dtype
            unit = np.finfo(dtype).eps
            np.testing.assert_allclose(running_mean.astype(float), expected_mean, rtol=2 * unit)
            np.testing.assert_allclose(running_var.astype(float), expected_var, rtol=2 * unit)


def test_update_running_defaults_and_strides():
    running_mean, running_var = np.zeros(6)[::2], np.ones(6)[::-2]
    fastln.update_running(running_mean, running_var, [10, 20, 30], [4, 4, 4], 5)
    np.testing.assert_allclose(running_mean, [1, 2, 3])
    np.testing.assert_allclose(running_var, [1.4] * 3)
    fastln.update_running(running_mean, running_var, [0, 0, 0], [0, 0, 0], 1, unbiased=False, momentum=1.0)
    assert not running_mean.any()
