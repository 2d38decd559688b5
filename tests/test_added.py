"""add_layer_norm and add_rms_norm: the sum is rounded once, and what is made of it has the bits of layer_norm and
rms_norm; of half types, those of the sum that is not rounded yet."""

import numpy as np
import pytest

import contract
import fastln
import oracle
import vectors
from test_same_bits import LAYOUTS, assert_same, nasty_rows
from vectors import EPS, FORMATS

every_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)
LENGTHS = [1, 2, 7, 15, 16, 17, 33, 64, 100, 128, 300, 768, 1025, 4099, 20_011]


def pair(fmt, n, count):
    """x and residual; of the same families, but for one."""
    return nasty_rows(fmt, n, count), vectors.rows(fmt, n, count, salt=1)


def in_steps(x, residual, weight, bias, eps, operation="layer_norm", weight_offset=0.0):
    """y and s from the sum in the compute type."""
    fmt = vectors.BY_NAME[x.dtype.name]
    with np.errstate(all="ignore"):
        s = x.astype(fmt.compute) + residual.astype(fmt.compute)
        if operation == "rms_norm":
            y = fastln.rms_norm(s, weight, eps, weight_offset=weight_offset)
        else:
            y = fastln.layer_norm(s, weight, bias, eps, weight_offset=weight_offset)
        return [y.astype(fmt.dtype), s.astype(fmt.dtype)]


def added(x, residual, weight, bias, eps, operation="layer_norm", **options):
    if operation == "rms_norm":
        return fastln.add_rms_norm(x, residual, weight, eps, **options)
    return fastln.add_layer_norm(x, residual, weight, bias, eps, **options)


@every_format
def test_same_bits(fmt, isa):
    for i, n in enumerate(LENGTHS):
        weight, bias = vectors.parameters(fmt, n)
        for count in (1, 3, 9) if n < 1000 else (2,):
            x, residual = pair(fmt, n, count)
            for w, b in ((None, None), (weight, None), (None, bias), (weight, bias)):
                for operation in ("layer_norm", "rms_norm"):
                    arguments = x, residual, w, b, EPS[i % 3], operation
                    assert_same(added(*arguments), in_steps(*arguments), f"{n} {count} {operation}")


@every_format
def test_accuracy(fmt, isa):
    """Of float32 and float64 against the oracle, from the sum; of half types it follows from the bits."""
    for n in (5, 16, 100, 768, 5000):
        x, residual = vectors.rows(fmt, n, 13), vectors.rows(fmt, n, 13, salt=3)
        y, s = fastln.add_layer_norm(x, residual)
        with np.errstate(over="ignore"):
            total = x.astype(fmt.compute) + residual.astype(fmt.compute)
            assert_same([s], [total.astype(fmt.dtype)])
        m = oracle.moments(np.where(np.isfinite(total), total, 0))
        rows = m.in_contract & np.isfinite(total).all(axis=1)
        contract.assert_holds(y, oracle.normalize(m, 1e-5).t, fmt, rows=rows)


@every_format
def test_parameters_of_some_rows(fmt, isa):
    """Modulation, with an offset; rows of several axes."""
    for n in (3, 17, 64, 300):
        x, residual = (a.reshape(3, 4, n) for a in pair(fmt, n, 12))
        full = [p.reshape(x.shape) for p in vectors.parameters(fmt, x.size)]
        for weight, bias in (
            (full[0][:, :1], full[1][:, :1]),
            (full[0][:1], full[1]),
            (full[0][0, 0], full[1][:1, :1]),
            (full[0].astype(fmt.dtype), full[1][0, 0].astype(fmt.dtype)),
        ):
            for operation in ("layer_norm", "rms_norm"):
                got = added(x, residual, weight, bias, 1e-5, operation, weight_offset=1.0)
                expected = in_steps(x, residual, weight, bias, 1e-5, operation, weight_offset=1.0)
                assert_same(got, expected, f"{n} {operation}")


@every_format
def test_in_place(fmt, isa):
    """Each output may be x or residual, or one each; sizes of a few chunks of rows and more than a window."""
    for n, count in ((1, 3), (16, 5), (100, 200), (768, 27), (9001, 3)):
        values = pair(fmt, n, count)
        weight, bias = vectors.parameters(fmt, n)
        expected = in_steps(*values, weight, bias, 1e-5)
        for for_y in (None, "x", "residual", "new"):
            for for_s in (None, "x", "residual", "other"):
                if for_y == for_s is not None:
                    continue
                x, residual = (a.copy() for a in values)
                places = {"x": x, "residual": residual, "new": np.empty_like(x), "other": np.empty_like(x)}
                y, s = fastln.add_layer_norm(
                    x, residual, weight, bias, out=places.get(for_y), sum_out=places.get(for_s)
                )
                assert_same([y, s], expected, f"{n} out={for_y}, sum_out={for_s}")
                assert for_y is None or y is places[for_y]
                assert for_s is None or s is places[for_s]
                for name, a, before in (("x", x, values[0]), ("residual", residual, values[1])):
                    assert name in (for_y, for_s) or a.tobytes() == before.tobytes()
        x = values[0].copy()
        assert_same(
            fastln.add_layer_norm(x, x, weight, bias, sum_out=x), in_steps(values[0], values[0], weight, bias, 1e-5)
        )


@every_format
def test_layouts(fmt, isa):
    """Of each of the four arrays; what is no plain rows takes another way."""
    for n in (1, 16, 100, 4099):
        values = pair(fmt, n, 5)
        weight, bias = vectors.parameters(fmt, n)
        expected = in_steps(*values, weight, bias, 1e-12)
        for name, lay_out in LAYOUTS.items():
            x, residual = (lay_out(a.copy()) for a in values)
            assert_same(fastln.add_layer_norm(x, values[1], weight, bias, 1e-12), expected, f"{n} {name}, x")
            assert_same(fastln.add_layer_norm(values[0], residual, weight, bias, 1e-12), expected, f"{n} {name}")
            if name in ("read-only", "byte-swapped"):
                continue
            out, sum_out = lay_out(np.zeros_like(values[0])), lay_out(np.zeros_like(values[0]))
            fastln.add_layer_norm(*values, weight, bias, 1e-12, out=out)
            fastln.add_layer_norm(*values, weight, bias, 1e-12, sum_out=sum_out)
            assert_same([out, sum_out], expected, f"{n} {name}, outputs")
            fastln.add_layer_norm(x, residual, weight, bias, 1e-12, out=x, sum_out=residual)
            assert_same([x, residual], expected, f"{n} {name}, in place")


@every_format
def test_overlaps(fmt, isa):
    """Shifted, reversed, over a weight: as if the arguments were copies."""
    n, count = 33, 6
    values = pair(fmt, n, count)
    weight, bias = (p.astype(fmt.dtype) for p in vectors.parameters(fmt, n))
    expected = in_steps(*values, weight, bias, 1e-5)
    size = n * count
    for shift in (1, 7, n, size - 1):
        for which in range(2):  # x or residual
            for target in ("out", "sum_out"):
                memory = np.zeros(2 * size, fmt.dtype)
                source, to = memory[:size].reshape(count, n), memory[shift : shift + size].reshape(count, n)
                for source, to in ((source, to), (to, source)):  # noqa: B020
                    source[...] = values[which]
                    arguments = [source, values[1]] if which == 0 else [values[0], source]
                    got = fastln.add_layer_norm(*arguments, weight, bias, **{target: to})
                    assert_same(got, expected, f"{shift} {which} {target}")
    for target in ("out", "sum_out"):
        x = values[0].copy()
        assert_same(fastln.add_layer_norm(x, values[1], weight, bias, **{target: x[::-1]}), expected, target)
        for which in range(2):
            memory = np.zeros(size + 50, fmt.compute)
            inside = memory[size // 2 : size // 2 + n]
            inside[...] = (weight, bias)[which]
            to = memory.view(fmt.dtype)[:size].reshape(count, n)
            given = (inside, bias) if which == 0 else (weight, inside)
            assert_same(fastln.add_layer_norm(*values, *given, **{target: to}), expected, f"{target} over a parameter")


@every_format
def test_threads(fmt):
    for shape in ((3_001, 16), (300, 768), (3, 100_003)):
        values = (pair(fmt, shape[1], 3)[i][np.arange(shape[0]) % 3] for i in range(2))
        x, residual = values
        weight, bias = vectors.parameters(fmt, shape[1])
        with fastln.num_threads(1):
            expected = in_steps(x, residual, weight, bias, 1e-5)
        for n in (1, 2, 3):
            with fastln.num_threads(n):
                assert_same(fastln.add_layer_norm(x, residual, weight, bias), expected, f"{shape}, {n} threads")
                a, b = x.copy(), residual.copy()
                fastln.add_layer_norm(a, b, weight, bias, out=a, sum_out=b)
                assert_same([a, b], expected, f"{shape}, {n} threads, in place")


def test_the_sum_of_halves_is_not_rounded_before_it_is_normalized(isa):
    """1 + 2^-13 is no float16; without that the row had no spread."""
    x, residual = np.ones((1, 2), np.float16), np.array([[0, 2.0**-13]], np.float16)
    y, s = fastln.add_layer_norm(x, residual, eps=0.0)
    np.testing.assert_array_equal(s, [[1, 1]])
    np.testing.assert_array_equal(y, [[-1, 1]])


def test_dtypes():
    """The result has x's dtype; residual may have another, and integers count as float64."""
    rng = np.random.default_rng(1)
    a, b = rng.integers(-9, 9, (2, 3, 40))
    expected = fastln.add_layer_norm(a.astype(np.float64), b.astype(np.float64))
    assert_same(fastln.add_layer_norm(a, b), expected)
    assert_same(fastln.add_layer_norm(a.tolist(), b.astype(np.int8)), expected)
    for dtype in (np.float16, np.float32):
        got = fastln.add_layer_norm(a.astype(dtype), b)
        assert_same(got, fastln.add_layer_norm(a.astype(dtype), b.astype(dtype)))


def test_empty():
    for shape in ((0, 5), (4, 0), (0,), (2, 0, 3)):
        for function in (fastln.add_layer_norm, fastln.add_rms_norm):
            y, s = function(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
            assert y.shape == s.shape == shape
            assert y.dtype == s.dtype == np.float32
