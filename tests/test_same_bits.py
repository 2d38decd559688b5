"""The bits of a row's result depend on its values, its format, its length and the parameters, and on nothing else: not
on the instruction set, the threads, the other rows, nor on where and how the array lies in memory."""

from functools import lru_cache

import numpy as np
import pytest

import fastln
import isas
import vectors
from vectors import AFFINE, FORMATS

every_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)
OPERATIONS = ("layer_norm", "keep_mean", "rms_norm")
LENGTHS = [1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 300, 768, 1000, 1025, 4099]


def bits(a):
    """The bits as integers; all NaNs are one."""
    a = np.ascontiguousarray(a)
    integers = a.view(f"u{a.itemsize}")
    return np.where(np.isnan(a), integers.dtype.type(-1 & (1 << 8 * a.itemsize) - 1), integers)


def assert_same(got, expected, context=""):
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        if a.tobytes() == b.tobytes() and a.shape == b.shape:
            continue
        np.testing.assert_array_equal(bits(a), bits(b), context)


def call(operation, x, form="plain", axis=-1, eps=1e-5, out=None):
    """All that a call returns, as a list. The parameters are those of the length; form: see AFFINE."""
    n = x.shape[axis]
    fmt = vectors.BY_NAME[x.dtype.name]
    weight, bias = (p if used else None for p, used in zip(vectors.parameters(fmt, n), AFFINE[form], strict=True))
    if operation == "rms_norm":
        return list(fastln.rms_norm(x, weight, eps, axis=axis, out=out, return_stats=True))
    keep_mean = operation == "keep_mean"
    return list(
        fastln.layer_norm(x, weight, bias, eps, axis=axis, out=out, return_stats=True, subtract_mean=not keep_mean)
    )


def nasty_rows(fmt, n, count=None, salt=0):
    """Rows of all families, and among them a NaN and an Inf, unless these would be all of them."""
    x = vectors.rows(fmt, n, count, salt)
    if len(x) < 3:
        return x
    x[len(x) // 3, n // 2] = np.nan
    x[len(x) // 2, n - 1] = np.inf
    return x


# ----------------------------------------------------------------------------------------------------------------------
# Instruction sets


@lru_cache(maxsize=1)
def reference(fmt, operation, axis):
    """The results of the executable specification, the scalar kernels."""
    with isas.using("scalar"):
        return results(fmt, operation, axis)


def results(fmt, operation, axis):
    found = {}
    lengths = sorted({*vectors.SHORT, *vectors.around_pairs(fmt, (2, 4, 8, 10)), *vectors.PRIMES[:7], 1 << 16, 70_001})
    for i, n in enumerate(lengths):
        x = nasty_rows(fmt, n, None if n < 3000 else 5)
        for form in list(AFFINE) if n < 3000 else ["weight_bias"]:
            eps = vectors.EPS[i % 3]
            found[n, form] = call(operation, x if axis == 1 else np.ascontiguousarray(x.T), form, axis, eps)
    return found


@pytest.mark.parametrize("isa", [name for name in isas.supported() if name != "scalar"], indirect=True)
@pytest.mark.parametrize("axis", [1, 0], ids=["rows", "columns"])
@pytest.mark.parametrize("operation", OPERATIONS)
@every_format
def test_instruction_sets(fmt, operation, axis, isa):
    expected = reference(fmt, operation, axis)
    for case, got in results(fmt, operation, axis).items():
        assert_same(got, expected[case], f"length, affine form: {case}")


# ----------------------------------------------------------------------------------------------------------------------
# Threads

# Large enough to be shared among threads: shape and axis.
SHARED = {
    "many short rows": ((60_000, 16), 1),
    "short rows": ((30_001, 64), 1),
    "rows": ((2_049, 768), 1),
    "few rows": ((7, 200_003), 1),
    "one row": ((1, 2_000_003), 1),
    "two rows": ((2, 1 << 20), 1),
    "images": ((3, 100, 5_000), 1),
    "one image": ((1, 96, 12_321), 1),
    "columns": ((1_000, 2_003), 0),
    "one long column block": ((100_003, 17), 0),
}


@pytest.mark.parametrize("shape", SHARED)
@every_format
def test_threads(fmt, shape):
    shape, axis = SHARED[shape]
    x = fmt.cast(vectors.generator(fmt, shape[-1]).standard_normal(shape) * 3 + 5)
    x.reshape(-1)[:: x.size // 5] = fmt.max  # a few rows for the cold path
    for operation in ("layer_norm", "rms_norm"):
        with fastln.num_threads(1):
            expected = call(operation, x, "weight", axis)
        for n in (2, 3, 4):
            with fastln.num_threads(n):
                assert_same(call(operation, x, "weight", axis), expected, f"{operation}, {n} threads")


@every_format
def test_threads_and_a_bad_value_in_a_huge_row(fmt):
    x = vectors.generator(fmt, 1).standard_normal((2, 1_500_001)).astype(fmt.dtype)
    x[1, 1_234_567] = np.inf
    for n in (1, 2, 3):
        with fastln.num_threads(n):
            y, mean, rstd = fastln.layer_norm(x, return_stats=True)
        assert np.isnan(y[1].astype(np.float32)).all()
        assert np.isfinite(y[0].astype(np.float32)).all()
        assert np.isnan(rstd[1])
        assert not np.isfinite(mean[1])


@every_format
def test_a_huge_row_on_every_instruction_set(fmt, isa):
    x = fmt.cast(vectors.generator(fmt, 5).standard_normal((1, 700_001)) + 100)
    with isas.using("scalar"), fastln.num_threads(1):
        expected = call("layer_norm", x, "weight_bias")
    for n in (1, 2, 3):
        with fastln.num_threads(n):
            assert_same(call("layer_norm", x, "weight_bias"), expected, f"{n} threads")


# ----------------------------------------------------------------------------------------------------------------------
# The other rows


@pytest.mark.parametrize("operation", OPERATIONS)
@every_format
def test_batch_position_and_number_of_rows(fmt, operation, isa):
    for n in LENGTHS:
        x = nasty_rows(fmt, n, 9)
        alone = [call(operation, row[None], "weight_bias") for row in x]
        for count in range(1, 10):
            for first in (0, 9 - count, (9 - count) // 2):
                got = call(operation, x[first : first + count], "weight_bias")
                expected = [np.concatenate(parts) for parts in zip(*alone[first : first + count], strict=True)]
                assert_same(got, expected, f"length {n}, rows {first} to {first + count}")


@every_format
def test_one_dimension_is_a_batch_of_one(fmt, isa):
    for n in LENGTHS:
        x = nasty_rows(fmt, n, 4)
        for row in x:
            assert_same(call("layer_norm", row), [a[0] for a in call("layer_norm", row[None])])


# ----------------------------------------------------------------------------------------------------------------------
# Where the array lies


def embed(x, step, offset, columns=0):
    """A view of x's values `step` apart, in rows with `columns` values more, `offset` values into memory."""
    rows, n = x.shape
    width = n * step + columns
    memory = np.zeros(rows * width + offset, x.dtype)
    view = memory[offset:].reshape(rows, width)[:, : n * step : step]
    view[...] = x
    return view


LAYOUTS = {
    "one value off": lambda x: embed(x, 1, 1),
    "three values off": lambda x: embed(x, 1, 3),
    "wide rows": lambda x: embed(x, 1, 0, 5),
    "wide rows, off": lambda x: embed(x, 1, 7, 1),
    "every other value": lambda x: embed(x, 2, 0),
    "every third value": lambda x: embed(x, 3, 1, 2),
    "rows reversed": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "values reversed": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "all reversed": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "Fortran order": lambda x: np.asfortranarray(x),
    "Fortran order, wide": lambda x: embed(x.T, 1, 1, 3).T,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()) if x.dtype.name != "bfloat16" else embed(x, 4, 0),
    "unaligned": lambda x: unaligned(x),
    "read-only": lambda x: frozen(x.copy()),
}


def unaligned(x):
    view = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def frozen(x):
    x.setflags(write=False)
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
@every_format
def test_layout_of_x(fmt, layout, isa):
    for n in LENGTHS:
        x = nasty_rows(fmt, n, 7)
        view = LAYOUTS[layout](x)
        np.testing.assert_array_equal(bits(view.astype(x.dtype)), bits(x))
        for operation in ("layer_norm", "rms_norm"):
            assert_same(call(operation, view), call(operation, x), f"{operation}, length {n}")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("read-only", "byte-swapped")])
@every_format
def test_layout_of_out(fmt, layout, isa):
    for n in LENGTHS:
        x = nasty_rows(fmt, n, 7)
        expected = call("layer_norm", x, "weight_bias")
        out = LAYOUTS[layout](np.zeros_like(x))
        got = call("layer_norm", x, "weight_bias", out=out)
        assert got[0] is out
        assert_same(got, expected, f"length {n}")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("read-only", "byte-swapped")])
@every_format
def test_in_place(fmt, layout, isa):
    for n in LENGTHS:
        x = nasty_rows(fmt, n, 7)
        for operation in ("layer_norm", "rms_norm"):
            expected = call(operation, x, "weight")
            view = LAYOUTS[layout](x)
            assert_same(call(operation, view, "weight", out=view), expected, f"{operation}, length {n}")


@every_format
def test_a_broadcast_row(fmt, isa):
    for n in LENGTHS:
        row = vectors.rows(fmt, n, 1)
        x = np.broadcast_to(row, (6, n))
        assert_same(call("layer_norm", x), call("layer_norm", x.copy()), f"length {n}")


@every_format
def test_several_batch_axes(fmt, isa):
    for n in (1, 5, 64, 100, 300):
        x = nasty_rows(fmt, n, 24)
        expected = call("layer_norm", x)
        cube = x.reshape(2, 3, 4, n)
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)):
            moved = np.ascontiguousarray(cube.transpose(*order, 3))
            back = [order.index(axis) for axis in range(3)]
            got = call("layer_norm", moved.transpose(*back, 3))  # a view with axes in any order in memory
            assert_same([a.reshape(b.shape) for a, b in zip(got, expected, strict=True)], expected, f"{order}, {n}")
        # Two axes normalized together are one.
        got = fastln.layer_norm(x.reshape(24, 1, n), axis=(2, 1), return_stats=True)
        assert_same([a.reshape(b.shape) for a, b in zip(got, expected, strict=True)], expected)


# ----------------------------------------------------------------------------------------------------------------------
# An axis that is not the last

INNER = [2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257]
COLUMN_LENGTHS = [1, 2, 3, 4, 5, 15, 16, 17, 33, 64, 96, 100, 255, 257, 1000]


@pytest.mark.parametrize("operation", OPERATIONS)
@every_format
def test_position_among_the_columns(fmt, operation, isa):
    """A column's result is the same in every place, however many others there are."""
    for n in COLUMN_LENGTHS:
        families = nasty_rows(fmt, n)
        kinds = len(families)
        expected = call(operation, np.ascontiguousarray(families.T), "weight_bias", axis=0)
        for inner in INNER:
            for first in (0, 5):
                which = (first + np.arange(inner)) % kinds
                x = np.ascontiguousarray(families[which].T)
                got = call(operation, x, "weight_bias", axis=0)
                columns = [expected[0][:, which], *(a[which] for a in expected[1:])]
                assert_same(got, columns, f"length {n}, {inner} columns from {first}")


@pytest.mark.parametrize("operation", OPERATIONS)
@every_format
def test_columns_have_the_bits_of_rows(fmt, operation, isa):
    for n in [*COLUMN_LENGTHS, *LENGTHS]:
        x = nasty_rows(fmt, n)
        y, *stats = call(operation, np.ascontiguousarray(x.T), "weight_bias", axis=0)
        assert_same([y.T, *stats], call(operation, x, "weight_bias"), f"length {n}")


@every_format
def test_images(fmt, isa):
    """axis=1 of (images, channels, height, width): the same as image by image, in place or not, whole or a part."""
    for n in (3, 16, 96, 130):
        for height, width in ((1, 5), (3, 7), (4, 16), (9, 33)):
            columns = nasty_rows(fmt, n, 26)
            which = np.arange(2 * height * width).reshape(2, height, width) % 26
            x = np.ascontiguousarray(np.moveaxis(columns[which], -1, 1))
            expected = call("layer_norm", np.ascontiguousarray(columns.T), "weight_bias", axis=0)
            expected = [np.moveaxis(expected[0][:, which], 0, 1), *(a[which] for a in expected[1:])]
            context = f"{x.shape}"
            assert_same(call("layer_norm", x, "weight_bias", axis=1), expected, context)
            assert_same(call("layer_norm", x, "weight_bias", axis=-3), expected, context)
            wide = np.zeros((2, n, height, width + 3), x.dtype)
            wide[..., 1:-2] = x
            part = wide[..., 1:-2]
            assert_same(call("layer_norm", part, "weight_bias", axis=1), expected, "a part of each row")
            assert_same(call("layer_norm", part, "weight_bias", axis=1, out=x), expected, "into another")
            assert_same(call("layer_norm", part, "weight_bias", axis=1, out=part), expected, "in place")
            assert not wide[..., 0].any()
            assert not wide[..., -2:].any()


COLUMN_LAYOUTS = {
    "rows reversed": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "columns reversed": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "every other column": lambda x: np.repeat(x, 2, axis=2)[..., ::2],
    "every other value": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1),
    "batch last": lambda x: np.ascontiguousarray(x.transpose(1, 2, 0)).transpose(2, 0, 1),
    "Fortran order": np.asfortranarray,
    "unaligned": unaligned,
}


@pytest.mark.parametrize("layout", COLUMN_LAYOUTS)
@every_format
def test_layout_of_columns(fmt, layout, isa):
    """axis=1 of (2, n, inner) gives the same bits wherever the values lie."""
    for n in COLUMN_LENGTHS:
        x = np.ascontiguousarray(nasty_rows(fmt, n, 14).reshape(2, 7, n).transpose(0, 2, 1))
        expected = call("layer_norm", x, "weight_bias", axis=1)
        view = COLUMN_LAYOUTS[layout](x)
        np.testing.assert_array_equal(bits(view), bits(x))
        assert_same(call("layer_norm", view, "weight_bias", axis=1), expected, f"length {n}")


@pytest.mark.parametrize(("size", "gap"), [(4444, 0), (9004, 3), (40_012, 0)])
@every_format
def test_what_is_written_past_the_caches(fmt, size, gap):
    """128 MiB and more have stores of their own, but for scalar code: for many rows of `size` bytes, for four and for
    one at a time. The rows repeat, so few of them are enough; but for one they stay on the hot path. `gap` values lie
    behind each row of out."""
    n = size // fmt.dtype.itemsize
    few = vectors.generator(fmt, n).standard_normal((37, n)) * 3 + 5
    few[30, 5] = np.nan
    few = fmt.cast(few)
    times = 2**27 // few.nbytes + 1
    x = np.broadcast_to(few, (times, *few.shape)).reshape(-1, n)
    out = np.empty(len(x) * (n + gap) + 8, x.dtype)[n % 8 :][: len(x) * (n + gap)].reshape(-1, n + gap)
    form = "weight_bias" if gap else "weight"
    expected, *_ = call("layer_norm", few, form)
    for name in set(isas.supported()) - {"scalar"}:
        out[...] = 77
        with isas.using(name):
            call("layer_norm", x, form, out=out[:, :n])
        parts = out.reshape(times, *few.shape[:-1], n + gap)
        assert all(bits(part[:, :n]).tobytes() == bits(expected).tobytes() for part in parts), name
        assert (out[:, n:] == 77).all()


def test_a_row_of_128_mib_among_threads():
    """Its last piece is hardly more than two vectors, at an address that is not aligned."""
    n = 512 * 65536 + 40
    x = np.tile(nasty_rows(FORMATS[0], 1024, 3)[:1], n // 1024 + 1)[:, :n]
    out = np.empty(n + 16, np.float32)
    for name in set(isas.supported()) - {"scalar"}:
        with isas.using(name), fastln.num_threads(1):
            y = fastln.layer_norm(x, eps=0.5, out=out[1 : n + 1].reshape(1, n)).copy()
        assert np.isfinite(y).all()
        with isas.using(name), fastln.num_threads(2):
            fastln.layer_norm(x, eps=0.5, out=out[3 : n + 3].reshape(1, n))
        assert y.tobytes() == out[3 : n + 3].tobytes(), name


# ----------------------------------------------------------------------------------------------------------------------
# Values that are scattered; long rows go through in pieces

LONG = [8191, 8192, 8207, 12_289, 20_000]


@pytest.mark.parametrize("layout", ["every other value", "values reversed", "Fortran order", "unaligned"])
@every_format
def test_long_scattered_rows(fmt, layout, isa):
    for n in LONG:
        x = nasty_rows(fmt, n, 11)
        for operation, form in (("layer_norm", "weight_bias"), ("keep_mean", "bias"), ("rms_norm", "weight")):
            expected = call(operation, x, form)
            view = LAYOUTS[layout](x)
            assert_same(call(operation, view, form), expected, f"{operation}, length {n}")
            assert_same(call(operation, x, form, out=LAYOUTS[layout](x)), expected, f"{operation}, length {n}, out")
            assert_same(call(operation, view, form, out=view), expected, f"{operation}, length {n}, in place")


@every_format
def test_threads_share_long_scattered_rows(fmt, isa):
    x = nasty_rows(fmt, 60_001, 12)
    memory = embed(x, 2, 1)
    with fastln.num_threads(1):
        expected = call("layer_norm", x, "weight_bias")
    with fastln.num_threads(3):
        assert_same(call("layer_norm", memory, "weight_bias"), expected)
        assert_same(call("layer_norm", x[:3], "weight_bias"), [a[:3] for a in expected])
        assert_same(call("layer_norm", memory, "weight_bias", out=memory), expected)


@every_format
def test_axes_that_are_apart(fmt, isa):
    """axis=(0, 2) gives the bits of the same values in a row, whatever the run lengths on either side."""
    for outer, between, inner in ((2, 9, 3), (3, 1, 16), (40, 5, 7), (9, 9, 1000), (3, 2, 8192), (4100, 2, 2)):
        x = nasty_rows(fmt, outer * inner, between)
        y, mean, rstd = call("layer_norm", x)
        apart = np.ascontiguousarray(x.reshape(between, outer, inner).transpose(1, 0, 2))
        got = fastln.layer_norm(apart, axis=(0, 2), return_stats=True)
        assert_same([got[0].transpose(1, 0, 2).reshape(x.shape), *got[1:]], [y, mean, rstd], f"{apart.shape}")
        fastln.layer_norm(apart, axis=(0, 2), out=apart)
        assert_same([apart], [got[0]], f"{apart.shape}, in place")


@every_format
def test_images_whose_channels_lie_side_by_side(fmt, isa):
    """Normalized over channels, height and width together: in memory the values of a row lie in another order."""
    shapes = [(3, 5, 8, 9), (2, 70, 3, 11), (2, 64, 1, 20), (1, 100, 30, 41), (9, 65, 33, 7)]
    for images, channels, height, width in shapes:
        n = channels * height * width
        x = nasty_rows(fmt, n, images).reshape(images, channels, height, width)
        weight, bias = (np.linspace(a, 2, n).reshape(x.shape[1:]).astype(fmt.compute) for a in (-1, 0.5))
        expected = fastln.layer_norm(x, weight, bias, axis=(1, 2, 3), return_stats=True)
        memory = np.zeros((images, height + 2, width + 1, channels), x.dtype)
        views = {
            "whole": np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
            "a part": memory[:, 1:-1, 1:].transpose(0, 3, 1, 2),
        }
        views["a part"][...] = x
        for name, view in views.items():
            for threads in (1, 3):
                with fastln.num_threads(threads):
                    got = fastln.layer_norm(view, weight, bias, axis=(1, 2, 3), return_stats=True)
                    assert_same(got, expected, f"{x.shape}, {name}")
                    for out in (np.zeros_like(x), np.zeros_like(view), view.copy(order="K")):
                        fastln.layer_norm(view, weight, bias, axis=(1, 2, 3), out=out)
                        assert_same([out], expected[:1], f"{x.shape}, {name}, out")
            fastln.layer_norm(view, weight, bias, axis=(1, 2, 3), out=view)
            assert_same([view], expected[:1], f"{x.shape}, {name}, in place")


@pytest.mark.parametrize(("rows", "wide", "tall"), [(1, 97, 1601), (2, 1601, 97), (9, 97, 1601)])
@every_format
def test_long_rows_in_another_order(fmt, rows, wide, tall, isa):
    """In memory, x and out are transposed rows, but their values do not lie side by side in both."""
    wide = wide * 2 // fmt.dtype.itemsize
    x = nasty_rows(fmt, tall * wide, rows).reshape(rows, wide, tall)
    weight, bias = (np.linspace(a, 2, wide * tall).reshape(x.shape[1:]).astype(fmt.compute) for a in (-1, 0.5))
    memory = np.zeros((rows, tall + 1, 2 * wide), x.dtype)
    side_by_side = np.zeros((tall + 1, 2 * wide, rows), x.dtype)
    views = {
        "reversed": memory[:, 1:, wide - 1 :: -1].transpose(0, 2, 1),
        "both reversed": memory[:, :0:-1, wide - 1 :: -1].transpose(0, 2, 1),
        "every other value": memory[:, 1:, ::2].transpose(0, 2, 1),
        "side by side": side_by_side[1:, ::2].transpose(2, 1, 0),
        "dense": np.zeros((rows, tall, wide), x.dtype).transpose(0, 2, 1),
        "unaligned": unaligned(memory[:, 1:, :wide]).transpose(0, 2, 1),
    }
    for given in ({}, {"weight": weight, "bias": bias}):
        expected = fastln.layer_norm(x, **given, axis=(1, 2), return_stats=True)
        for name, view in views.items():
            view[...] = x
            for threads in (1, 3):
                with fastln.num_threads(threads):
                    got = fastln.layer_norm(view, **given, axis=(1, 2), return_stats=True)
                    assert_same(got, expected, f"{name}, {threads} threads, {list(given)}")
                    out = np.zeros((rows, tall, 3 * wide), x.dtype)[..., ::3].transpose(0, 2, 1)
                    fastln.layer_norm(view, **given, axis=(1, 2), out=out)
                    assert_same([out], expected[:1], f"{name}, {threads} threads, {list(given)}, out")
            fastln.layer_norm(view, **given, axis=(1, 2), out=view)
            assert_same([view], expected[:1], f"{name}, {list(given)}, in place")


@pytest.mark.parametrize("width", [2, 3, 4, 6, 9, 13])
@every_format
def test_narrow_columns(fmt, width, isa):
    """Pairs, pixels and the like, normalized over what lies across them; few or many side by side."""
    for n in (1, 2, 5, 8, 16, 65, 96, 300, 9000):
        for outer in (1, 3, 70) if n < 9000 else (1, 3):
            x = nasty_rows(fmt, n, outer * width)
            y, mean, rstd = call("layer_norm", x, "weight_bias")
            columns = np.ascontiguousarray(x.reshape(outer, width, n).transpose(0, 2, 1))
            expected = [y.reshape(outer, width, n).transpose(0, 2, 1), *(a.reshape(outer, width) for a in (mean, rstd))]
            assert_same(call("layer_norm", columns, "weight_bias", axis=1), expected, f"{columns.shape}")
            wide = np.zeros((outer, n + 1, width + 1), x.dtype)[:, 1:, 1:]
            assert_same(call("layer_norm", columns, "weight_bias", axis=1, out=wide), expected, "into a part")
