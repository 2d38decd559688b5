"""A NaN or an Inf makes its row NaN, all of it, and leaves every other row as it was, bit by bit."""

import numpy as np
import pytest

import fastln
import vectors
from vectors import FORMATS

OPERATIONS = {
    "layer_norm": lambda x, **options: fastln.layer_norm(x, **options),
    "keep_mean": lambda x, **options: fastln.layer_norm(x, subtract_mean=False, **options),
    "rms_norm": lambda x, **options: fastln.rms_norm(x, **options),
}
LENGTHS = [1, 2, 3, 15, 16, 17, 33, 64, 65, 100, 128, 129, 256, 257, 1000, 5001]

every_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)
every_operation = pytest.mark.parametrize("operation", OPERATIONS)


def positions(n):
    return sorted({0, n // 3, n // 2, n - 1})


def assert_only_row_is_nan(y, clean, row):
    assert np.isnan(y[row].astype(np.float32)).all()
    assert np.delete(y, row, axis=0).tobytes() == np.delete(clean, row, axis=0).tobytes()


@pytest.mark.parametrize("axis", [1, 0], ids=["rows", "columns"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every_operation
@every_format
def test_one_bad_value(fmt, operation, bad, axis, isa):
    run = OPERATIONS[operation]

    def call(x):
        y, *stats = run(x if axis == 1 else np.ascontiguousarray(x.T), axis=axis, return_stats=True)
        return [y if axis == 1 else np.ascontiguousarray(y.T), *stats]

    for n in LENGTHS:
        good = vectors.rows(fmt, n, 6)
        clean = call(good)
        for row, where in zip((0, 2, 4, 5), positions(n), strict=False):
            x = good.copy()
            x[row, where] = bad
            y, *stats = call(x)
            assert_only_row_is_nan(y, clean[0], row)
            assert np.isnan(stats[-1][row])  # rstd
            for got, expected in zip(stats, clean[1:], strict=True):
                assert not np.isfinite(got[row])
                assert np.delete(got, row).tobytes() == np.delete(expected, row).tobytes()


@every_operation
@every_format
def test_several_bad_rows(fmt, operation, isa):
    run = OPERATIONS[operation]
    for n in LENGTHS:
        good = vectors.rows(fmt, n, 9)
        clean = run(good)
        for rows in ([0, 1, 2, 3], [1, 3, 4, 8], list(range(9))):
            x = good.copy()
            for i, row in enumerate(rows):
                x[row, positions(n)[i % len(positions(n))]] = [np.nan, np.inf, -np.inf][i % 3]
            y = run(x)
            assert np.isnan(y[rows].astype(np.float32)).all()
            assert np.delete(y, rows, axis=0).tobytes() == np.delete(clean, rows, axis=0).tobytes()


@every_format
def test_inf_of_both_signs(fmt, isa):
    for n in LENGTHS[1:]:
        x = vectors.rows(fmt, n, 5)
        clean = fastln.layer_norm(x)
        x[3, 0], x[3, -1] = np.inf, -np.inf
        assert_only_row_is_nan(fastln.layer_norm(x), clean, 3)


@every_format
def test_all_values_bad(fmt, isa):
    for n in LENGTHS:
        for bad in (np.nan, np.inf, -np.inf):
            x = np.full((3, n), bad, fmt.dtype)
            for run in OPERATIONS.values():
                assert np.isnan(run(x).astype(np.float32)).all()


@every_format
def test_as_numpy_does(fmt, isa):
    """NumPy's own formula agrees on which values are NaN, where it does not overflow."""
    for n in LENGTHS:
        x = vectors.generator(fmt, n).standard_normal((5, n)).astype(fmt.dtype)
        x[1, n // 2], x[3, n - 1] = np.nan, np.inf
        wide = x.astype(np.float64)
        with np.errstate(invalid="ignore"):
            centred = wide - wide.mean(axis=1, keepdims=True)
            expected = centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + 1e-5)
        np.testing.assert_array_equal(np.isnan(fastln.layer_norm(x).astype(np.float32)), np.isnan(expected))


@every_format
def test_bad_weight_or_bias_stays_in_its_column(fmt, isa):
    for n in LENGTHS:
        x = vectors.generator(fmt, n).standard_normal((5, n)).astype(fmt.dtype)
        weight, bias = vectors.parameters(fmt, n)
        clean = fastln.layer_norm(x, weight, bias)
        for column in positions(n):
            for which in (0, 1):
                vector = [weight.copy(), bias.copy()]
                vector[which][column] = np.nan
                y = fastln.layer_norm(x, *vector)
                assert np.isnan(y[:, column].astype(np.float32)).all()
                assert np.delete(y, column, axis=1).tobytes() == np.delete(clean, column, axis=1).tobytes()


@every_operation
@every_format
def test_large_values_are_not_bad(fmt, operation, isa):
    """Sums, differences and squares of finite values may overflow on the way; the result does not."""
    for n in LENGTHS[1:]:
        x = np.zeros((4, n), fmt.dtype)
        x[0] = fmt.cast(np.where(np.arange(n) % 2, -1.0, 1.0) * fmt.max)
        x[1, n // 2] = fmt.max
        x[2] = fmt.cast(np.linspace(-0.99, 0.99, n) * fmt.max)
        x[3] = fmt.cast(np.linspace(-1, 1, n) * fmt.normal)
        y, *_, rstd = OPERATIONS[operation](x, eps=0.0, return_stats=True)
        assert np.isfinite(y.astype(np.float32)).all(), f"length {n}"
        assert (rstd > 0).all()


@pytest.mark.parametrize("operation", [fastln.layer_norm, fastln.rms_norm])
@pytest.mark.parametrize("bad", [0x7FC00123, 0xFFC00000, 0x7F800001, 0x7F800000, 0xFF800000], ids=hex)
def test_a_row_of_nan_has_one_set_of_bits(operation, bad, isa):
    """Whatever NaN was there, and whatever the processor makes of two of them."""
    x = np.ones((3, 40), np.float32)
    x.view(np.uint32)[1, 7] = bad
    weight = np.linspace(-1, 1, 40, dtype=np.float32)
    for y in operation(x, weight), operation(np.asfortranarray(x), weight), operation(x.T, weight, axis=0).T:
        assert (np.ascontiguousarray(y[1]).view(np.uint32) == 0x7FC00000).all()
        assert np.isfinite(y[[0, 2]]).all()
