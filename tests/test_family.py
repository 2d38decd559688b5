"""Group, instance and batch normalization, modulation, AdaNorm and given statistics: every value within the contract,
and the bits that layer_norm gives for the same rows, wherever and however these lie in memory.

A result is compared with the oracle once: where another instruction set or layout gives the same bits, it has been
checked. The sums of two arrays, and moments, are in test_added.py and test_moments.py.
"""

import pickle
from functools import cache

import numpy as np
import pytest

import contract
import fastln
import isas
import oracle
import vectors
from test_same_bits import assert_same, nasty_rows, unaligned
from vectors import EPS, FORMATS

every_format = pytest.mark.parametrize("fmt", FORMATS, ids=str)
checked = set()


def assert_holds(y, exact, fmt, weight=None, bias=None, rows=None, context=""):
    """exact: a function that gives t, called only for bits that are new."""
    y = np.ascontiguousarray(y)
    key = (fmt, context, y.tobytes())
    if key not in checked:
        contract.assert_holds(y, exact(), fmt, weight, bias, rows, context)
        checked.add(key)


LAYOUTS = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "channels last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
    "all reversed": lambda x: np.flip(np.ascontiguousarray(np.flip(x))),
    "every other value": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "every other channel": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "channels last, a part": lambda x: np.moveaxis(np.repeat(np.moveaxis(x, 1, -1), 2, axis=1)[:, ::2], -1, 1),
    "unaligned": unaligned,
}


def each_layout(x):
    for name, lay_out in LAYOUTS.items():
        view = lay_out(x.copy())
        assert view.tobytes() == x.tobytes()
        yield name, view


# ----------------------------------------------------------------------------------------------------------------------
# Groups

# Samples, groups, channels of a group, places: parts of one value and of many, shorter and longer than a vector; rows
# around a block, and long enough to go through in pieces.
GROUPS = [
    (2, 3, 1, (1,)),
    (2, 4, 5, ()),
    (3, 4, 2, (7,)),
    (2, 5, 3, (15,)),
    (2, 3, 4, (16,)),
    (2, 17, 1, (3, 11)),
    (1, 2, 5, (17,)),
    (2, 2, 3, (33, 3)),
    (1, 3, 90, (3,)),
    (2, 1, 7, (1, 150)),
    (1, 2, 3, (4099,)),
    (1, 2, 2050, (5,)),
]


def in_groups(rows, shape):
    """(N * groups, L) as (N, C, ...)."""
    samples, groups, channels, places = shape
    return rows.reshape(samples, groups * channels, *places)


def per_channel(fmt, shape):
    """Weight and bias (C,), and both as rows (N * groups, L)."""
    samples, groups, channels, places = shape
    weight, bias = vectors.parameters(fmt, groups * channels)
    repeated = [np.repeat(p.reshape(groups, channels), int(np.prod(places)), axis=1) for p in (weight, bias)]
    return weight, bias, *(np.tile(p, (samples, 1)) for p in repeated)


def length_of(shape):
    return shape[2] * int(np.prod(shape[3]))


@cache
def exact_groups(fmt, shape, eps):
    m = oracle.moments(vectors.rows(fmt, length_of(shape), shape[0] * shape[1]))
    return oracle.normalize(m, eps).t, m.in_contract


@every_format
def test_accuracy_of_group_norm(fmt, isa):
    for i, shape in enumerate(GROUPS):
        rows = vectors.rows(fmt, length_of(shape), shape[0] * shape[1])
        x, groups, eps = in_groups(rows, shape), shape[1], EPS[i % 3]
        weight, bias, all_weights, all_biases = per_channel(fmt, shape)
        exact, in_contract = exact_groups(fmt, shape, eps)
        for last in (False, True):
            view, axis = (np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1) if last else (x, 1)
            for w, b, ws, bs in (
                (None, None, None, None),
                (weight, None, all_weights, None),
                (None, bias, None, all_biases),
                (weight, bias, all_weights, all_biases),
            ):
                y = fastln.group_norm(view, groups, w, b, eps, channel_axis=axis)
                y = np.ascontiguousarray(np.moveaxis(y, axis, 1)).reshape(rows.shape)
                assert_holds(y, lambda: exact, fmt, ws, bs, in_contract, f"{shape} {w is None} {b is None}")  # noqa: B023


def rows_one_by_one(rows, weights, biases, eps, operation=fastln.layer_norm):
    """What is to be the same: each row on its own, with a weight and a bias for each value."""
    return np.stack(
        [
            operation(row, *(None if p is None else p[i] for p in (weights, biases)), eps=eps)
            for i, row in enumerate(rows)
        ]
    )


def turn(rows, shape):
    """With the channels of a group as its last axis."""
    return np.ascontiguousarray(rows.reshape(len(rows), shape[2], -1).swapaxes(1, 2)).reshape(rows.shape)


def turn_back(rows, shape):
    return np.ascontiguousarray(rows.reshape(len(rows), -1, shape[2]).swapaxes(1, 2)).reshape(rows.shape)


def last_by_scalar(x, groups, weight, bias, eps):
    """Channels last have an order of their own, by way of the moments of each channel; its accuracy is tested above."""
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    with isas.using("scalar"):
        return np.moveaxis(fastln.group_norm(last, groups, weight, bias, eps, channel_axis=-1), -1, 1)


@every_format
def test_groups_have_the_bits_of_rows(fmt, isa):
    for i, shape in enumerate(GROUPS):
        rows = nasty_rows(fmt, length_of(shape), shape[0] * shape[1])
        x, groups, eps = in_groups(rows, shape), shape[1], EPS[i % 3]
        weight, bias, all_weights, all_biases = per_channel(fmt, shape)
        if i % 4 == 1:
            bias = all_biases = None
        if i % 4 == 2:
            weight = all_weights = None
        expected = rows_one_by_one(rows, all_weights, all_biases, eps).reshape(x.shape)
        expected_last = last_by_scalar(x, groups, weight, bias, eps)
        if fmt.name == "float64":  # channels last, a row has its values in another order, and so another sum
            turned = [None if a is None else turn(a, shape) for a in (rows, all_weights, all_biases)]
            assert_same([expected_last], [turn_back(rows_one_by_one(*turned, eps), shape).reshape(x.shape)])
        for name, view in each_layout(x):
            context = f"{shape}, {name}"
            y = fastln.group_norm(view, groups, weight, bias, eps)
            assert_same([y], [expected], context)
            moved = np.moveaxis(view, 1, -1)
            y = fastln.group_norm(moved, groups, weight, bias, eps, channel_axis=-1)
            assert_same([np.moveaxis(y, -1, 1)], [expected_last], f"{context}, last")
            out = LAYOUTS[name](np.zeros_like(x))
            assert fastln.group_norm(x, groups, weight, bias, eps, out=out) is out
            assert_same([out], [expected], f"{context}, out")
            assert fastln.group_norm(view, groups, weight, bias, eps, out=view) is view
            assert_same([view], [expected], f"{context}, in place")


@every_format
def test_channels_in_the_middle(fmt, isa):
    """Weights are repeated on both sides of theirs, in parts of any length, by themselves and among other axes."""
    for before, groups, channels, after in ((2, 1, 2, 2), (3, 2, 3, 5), (2, 3, 2, 17), (33, 2, 5, 40), (7, 1, 300, 3)):
        rows = nasty_rows(fmt, before * channels * after, 2 * groups)
        x = rows.reshape(2, groups, before, channels, after).swapaxes(1, 2)
        x = np.ascontiguousarray(x).reshape(2, before, groups * channels, after)
        weight, bias = vectors.parameters(fmt, groups * channels)
        full = [
            np.tile(np.repeat(p.reshape(groups, 1, channels), after, axis=2), (2, before, 1)).reshape(rows.shape)
            for p in (weight, bias)
        ]
        y = rows_one_by_one(rows, *full, 1e-5).reshape(2, groups, before, channels, after).swapaxes(1, 2)
        for name, view in each_layout(x):
            got = fastln.group_norm(view, groups, weight, bias, channel_axis=2)
            assert_same([got], [y.reshape(x.shape)], f"{x.shape} {name}")


@every_format
def test_pieces_of_long_groups_begin_inside_of_parts(fmt, isa):
    """A row among threads, or of values that are apart, with few weights that are repeated again and again."""
    n, channels = 70_001, 3
    x = fmt.cast(vectors.generator(fmt, n).standard_normal((1, n, channels)) + 2)
    weight, bias = vectors.parameters(fmt, channels)
    expected = np.moveaxis(last_by_scalar(np.moveaxis(x, -1, 1), 1, weight, bias, 1e-5), 1, -1)
    if fmt.name == "float64":  # the others go by the moments of their channels
        full = [np.tile(p, n) for p in (weight, bias)]
        assert_same([expected], [fastln.layer_norm(x.reshape(1, -1), *full).reshape(x.shape)])
    for view in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        for threads in (1, 3):
            with fastln.num_threads(threads):
                got = fastln.group_norm(view, 1, weight, bias, channel_axis=-1)
            assert_same([got], [expected], f"{threads} threads")


@every_format
def test_instance_norm_is_group_norm_of_single_channels(fmt, isa):
    for places in ((1,), (7,), (16,), (5, 53)):
        rows = nasty_rows(fmt, int(np.prod(places)), 10)
        x = rows.reshape(2, 5, *places)
        weight, bias = vectors.parameters(fmt, 5)
        expected = fastln.group_norm(x, 5, weight, bias, 1e-3)
        for name, view in each_layout(x):
            assert_same([fastln.instance_norm(view, weight, bias, 1e-3)], [expected], name)
            moved = np.moveaxis(view, 1, -1)
            y = fastln.instance_norm(moved, weight, bias, 1e-3, channel_axis=-1)
            assert_same([np.moveaxis(y, -1, 1)], [expected], name)


def test_group_norm_with_other_dtypes_of_the_parameters(isa):
    """Converted once, to the compute type; integers count as float64."""
    x = np.random.default_rng(1).standard_normal((2, 6, 9)).astype(np.float32)
    weight = np.arange(6)
    expected = fastln.group_norm(x, 3, weight.astype(np.float32), weight.astype(np.float32))
    for dtype in (np.int64, np.float16, np.float64, ">f4"):
        assert_same([fastln.group_norm(x, 3, weight.astype(dtype), weight.astype(dtype))], [expected])
    assert_same([fastln.group_norm(x, 3, np.repeat(weight, 2)[::2].astype(np.float32), weight)], [expected])


def test_group_norm_of_integers():
    x = np.random.default_rng(1).integers(0, 256, (2, 6, 9))
    for dtype in (np.uint8, np.int32, ">i2", bool):
        wide = x.astype(dtype).astype(np.float64)
        assert_same([fastln.group_norm(x.astype(dtype), 3)], [fastln.group_norm(wide, 3)])


# ----------------------------------------------------------------------------------------------------------------------
# Modulation: a weight and a bias of their own for some rows

SHAPES_OF_PARAMETERS = [(1, 1), (3, 1), (1, 4), (3, 4)]


def materialized(p, x, axis):
    """As rows."""
    return np.moveaxis(np.broadcast_to(p, x.shape), axis, -1).reshape(-1, x.shape[axis])


@every_format
def test_modulation(fmt, isa):
    """Of rows (3, 4, n); the same accuracy as with one weight, and the bits of each row with its own."""
    for i, n in enumerate((1, 5, 16, 37, 64, 100, 300, 1025)):
        rows = vectors.rows(fmt, n, 12)
        x = rows.reshape(3, 4, n)
        eps = EPS[i % 3]
        m = oracle.moments(rows)
        weights, biases = (p.reshape(3, 4, n) for p in vectors.parameters(fmt, 12 * n))
        for j, first in enumerate(SHAPES_OF_PARAMETERS):
            second = SHAPES_OF_PARAMETERS[(i + j) % 4]
            weight, bias = weights[: first[0], : first[1]], biases[: second[0], : second[1]]
            if (i + j) % 5 == 4:
                bias = None
            w, b = (None if p is None else materialized(p, x, -1) for p in (weight, bias))
            y = fastln.layer_norm(x, weight, bias, eps)
            assert_holds(
                y.reshape(rows.shape),
                lambda m=m, eps=eps: oracle.normalize(m, eps).t,
                fmt,
                w,
                b,
                m.in_contract,
                f"{n} {j}",
            )
            assert_same([y.reshape(rows.shape)], [rows_one_by_one(rows, w, b, eps)], f"{n} {first} {second}")
            y = fastln.rms_norm(x, weight, eps)
            expected = rows_one_by_one(rows, w, None, eps, lambda x, w, b, eps: fastln.rms_norm(x, w, eps))
            assert_same([y.reshape(rows.shape)], [expected], f"{n} {first}, rms_norm")


@every_format
def test_heads_of_q_and_k(fmt, isa):
    """Cut out of an array that has v, too: with weights of their own, in one call or in two."""
    for heads, n in ((4, 16), (12, 64), (5, 100), (16, 37), (3, 600)):
        packed = nasty_rows(fmt, n, 7 * 5 * 3 * heads).reshape(7, 5, 3, heads, n)
        weight, bias = (p.reshape(1, 1, 2, 1, n) for p in vectors.parameters(fmt, 2 * n))
        expected = [[], [], []]
        for i in range(2):
            rows = np.ascontiguousarray(packed[:, :, i]).reshape(-1, n)
            one = fastln.layer_norm(rows, weight[0, 0, i, 0], bias[0, 0, i, 0], return_stats=True)
            for all_of_it, part in zip(expected, one, strict=True):
                all_of_it.append(part.reshape(7, 5, 1, heads, *part.shape[1:]))
        expected = [np.concatenate(parts, axis=2) for parts in expected]
        for threads in (1, 3):
            with fastln.num_threads(threads):
                context = f"{heads} heads of {n}, {threads} threads"
                view = packed[:, :, :2]
                assert_same(fastln.layer_norm(view, weight, bias, return_stats=True), expected, context)
                assert_same([fastln.layer_norm(view, weight, bias)], expected[:1], context)
                wide = packed.copy()
                fastln.layer_norm(wide[:, :, :2], weight, bias, out=wide[:, :, :2])
                assert_same([wide[:, :, :2], wide[:, :, 2]], [expected[0], packed[:, :, 2]], f"{context}, in place")


@every_format
def test_modulation_of_columns(fmt, isa):
    """axis=1 of (N, C, H, W), with weights and biases per sample, per place and per both."""
    for samples, n, height, width in ((2, 3, 1, 5), (1, 16, 3, 7), (2, 17, 4, 16), (2, 100, 2, 33), (3, 300, 1, 2)):
        x = np.moveaxis(nasty_rows(fmt, n, samples * height * width), -1, 0)
        x = np.ascontiguousarray(x.reshape(n, samples, height, width).swapaxes(0, 1))
        full = [p.reshape(x.shape) for p in vectors.parameters(fmt, x.size)]
        kinds = [(samples, n, 1, 1), (1, n, height, width), x.shape, (1, n, 1, width), (samples, n, height, 1)]
        for i, kind in enumerate(kinds):
            weight = full[0][tuple(slice(size) for size in kind)]
            bias = full[1][tuple(slice(size) for size in kinds[i - 1])] if i % 4 != 2 else None
            rows = np.moveaxis(x, 1, -1).reshape(-1, n)
            w, b = (None if p is None else materialized(p, x, 1) for p in (weight, bias))
            expected = rows_one_by_one(rows, w, b, 1e-5).reshape(samples, height, width, n)
            expected = [np.moveaxis(expected, -1, 1)]
            y, mean, rstd = fastln.layer_norm(x, weight, bias, axis=1, return_stats=True)
            assert_same([y], expected, f"{x.shape} {kind}")
            assert_same([mean, rstd], fastln.layer_norm(x, axis=1, return_stats=True)[1:])
            for name, view in each_layout(x) if i % 2 else ():
                assert_same([fastln.layer_norm(view, weight, bias, axis=1)], expected, f"{x.shape} {kind} {name}")
                fastln.layer_norm(view, weight, bias, axis=1, out=view)
                assert_same([view], expected, f"{x.shape} {kind} {name}, in place")


@every_format
def test_modulation_by_parameters_of_any_layout(fmt, isa):
    x = nasty_rows(fmt, 48, 12).reshape(3, 4, 6, 8)
    rng = np.random.default_rng(5)
    weight, bias = (rng.standard_normal((3, 1, 6, 8)).astype(fmt.dtype) for _ in range(2))
    expected = [fastln.layer_norm(x, weight, bias, axis=(2, 3), weight_offset=1.0)]
    wide = (weight.astype(np.float64) + 1).astype(fmt.compute)
    assert_same([fastln.layer_norm(x, wide, bias.astype(fmt.compute), axis=(2, 3))], expected)
    for name, lay_out in LAYOUTS.items():
        w, b = lay_out(weight), lay_out(bias)
        assert_same([fastln.layer_norm(x, w, b, axis=(3, 2), weight_offset=1.0)], expected, name)
        assert_same(
            [fastln.layer_norm(x, w.astype(fmt.compute) + 0, b, axis=(3, 2), weight_offset=1.0)], expected, name
        )
        # One of each for the 6 x 8 of a row, in an array that is broadcast itself.
        assert_same([fastln.layer_norm(x, np.broadcast_to(w, x.shape), b, axis=(2, 3), weight_offset=1.0)], expected)
    for target in range(2):  # out overlaps a weight or a bias
        memory = np.zeros(x.size + 200, fmt.compute if fmt.dtype == fmt.compute else fmt.dtype)
        inside = memory[100 : 100 + weight.size].reshape(weight.shape)
        inside[...] = bias if target else weight
        out = memory[: x.size].reshape(x.shape)
        given = (weight, inside) if target else (inside, bias)
        fastln.layer_norm(x, *given, axis=(2, 3), weight_offset=1.0, out=out)
        assert_same([out], expected, "over " + ("bias" if target else "weight"))


# ----------------------------------------------------------------------------------------------------------------------
# Given statistics


def statistics(fmt, rows, eps):
    """Mean and rstd (R,) in float64, near those of the rows; finite."""
    m = oracle.moments(rows)
    exact = oracle.normalize(m, eps or 1e-12)
    mean, rstd = (np.ravel(oracle.high(a)) for a in (exact.mean, exact.rstd))
    return mean, np.minimum(rstd, fmt.compute_max)


def in_range(t, fmt):
    return np.abs(oracle.high(t)).max(axis=1) <= fmt.compute_max


@every_format
def test_normalize(fmt, isa):
    """Statistics of the rows, far away ones, and no mean; also with extreme values."""
    for i, n in enumerate((1, 7, 16, 33, 64, 100, 300, 1025, 5003)):
        rows = vectors.rows(fmt, n, 27 if n < 1000 else 6)
        mean, rstd = statistics(fmt, rows, EPS[i % 3])
        weight, bias = vectors.parameters(fmt, n) if i % 3 else (None, None)
        far = mean + 1e6 / np.maximum(rstd, 1e-290)
        for name, center in (("own", mean), ("far", far), ("none", None)):
            y = fastln.normalize(rows, center, rstd, weight, bias)
            given = np.zeros((len(rows), 1)) if center is None else center[:, None]
            with np.errstate(over="ignore", invalid="ignore"):
                t = oracle.given(rows, given, rstd[:, None])
            fine = in_range(t, fmt)
            assert fine.sum() > len(rows) // 2
            assert_holds(y, lambda t=t: t, fmt, weight, bias, fine, f"{n} {name}")
            columns = fastln.normalize(np.ascontiguousarray(rows.T), center, rstd, weight, bias, axis=0)
            assert_same([columns.T], [y], f"{n} {name}, columns")


@every_format
def test_layouts_of_normalize(fmt, isa):
    """The bits of the rows one by one, in every layout."""
    for samples, n, inner in ((2, 5, 9), (2, 16, 3), (1, 33, 64), (2, 300, 17), (1, 9001, 2)):
        rows = vectors.rows(fmt, n, samples * inner)
        rows[-1, n // 2], rows[0, -1] = np.nan, np.inf  # which stay where they are
        mean, rstd = statistics(fmt, vectors.rows(fmt, n, samples * inner), 1e-5)
        weight, bias = vectors.parameters(fmt, n)
        one_by_one = [fastln.normalize(row, m, r, weight, bias) for row, m, r in zip(rows, mean, rstd, strict=True)]
        expected = np.stack(one_by_one).reshape(samples, inner, n).transpose(0, 2, 1)
        assert np.isnan(expected.astype(np.float32)).sum() <= 2
        x = np.ascontiguousarray(rows.reshape(samples, inner, n).transpose(0, 2, 1))
        mean, rstd = mean.reshape(samples, inner), rstd.reshape(samples, inner)
        for name, view in each_layout(x):
            context = f"{x.shape}, {name}"
            y = fastln.normalize(view, mean, np.asfortranarray(rstd), weight, bias, axis=1)
            assert_same([y], [expected], context)
            out = LAYOUTS[name](np.zeros_like(x))
            fastln.normalize(x, mean, rstd, weight, bias, axis=1, out=out)
            assert_same([out], [expected], f"{context}, out")
            fastln.normalize(view, mean, rstd, weight, bias, axis=1, out=view)
            assert_same([view], [expected], f"{context}, in place")


@every_format
def test_bad_values_in_statistics(fmt, isa):
    x = vectors.rows(fmt, 40, 1).repeat(4, axis=0)
    expected = fastln.normalize(x, [1.0] * 4, [0.5] * 4)
    for mean, rstd in (
        ([1, np.nan, 1, 1], [0.5] * 4),
        ([1, np.inf, 1, 1], [0.5] * 4),
        ([1] * 4, [0.5, np.nan, 0.5, 0.5]),
    ):
        for y in (
            fastln.normalize(x, mean, rstd),
            fastln.normalize(np.ascontiguousarray(x.T), mean, rstd, axis=0).T,
        ):
            assert np.isnan(y[1].astype(np.float32)).all()
            assert_same([y[[0, 2, 3]]], [expected[[0, 2, 3]]])
    x[1] = 3
    y = fastln.normalize(x, [1, 3, 1, 1], [0.5, np.inf, 0.5, 0.5], bias=np.full(40, 2.0))
    assert (y[1] == 2).all()


@cache
def exact_channels(fmt, shape, eps, away):
    """x (N, C, ...) as channels (C, N * ...), their mean and variance, and the exact t."""
    samples, channels, places = shape
    rows = vectors.rows(fmt, samples * int(np.prod(places)), channels)
    m = oracle.moments(rows)
    mean = np.ravel(oracle.high(oracle.ldexp(m.mean, m.x_exponent)))
    with np.errstate(over="ignore"):
        var = np.ravel(np.ldexp(oracle.high(m.variance), 2 * m.deviation_exponent))
        var = np.clip(var, 1e-300 if fmt.name == "float64" else 1e-60, 1e300)
        mean = mean + away * np.sqrt(var)
        mean = np.where(np.isfinite(mean), mean, 0)
        rstd = oracle.rstd_of(var[:, None], eps, fmt.name == "float64")
        t = oracle.given(rows, mean[:, None], rstd)
    x = np.ascontiguousarray(rows.reshape(channels, samples, *places).swapaxes(0, 1))
    return x, mean, var, t, in_range(t, fmt)


CHANNELS = [(3, 5, ()), (1, 3, (7,)), (4, 17, (3,)), (2, 64, (5, 5)), (3, 9, (16,)), (2, 33, (2, 40)), (1, 2, (5003,))]


@every_format
def test_batch_norm(fmt, isa):
    for i, shape in enumerate(CHANNELS):
        for away in (0, 1e6):
            eps = EPS[i % 3]
            x, mean, var, t, fine = exact_channels(fmt, shape, eps, away)
            weight, bias = vectors.parameters(fmt, shape[1]) if i % 3 else (None, None)
            w, b = (None if p is None else np.broadcast_to(p[:, None], t.shape) for p in (weight, bias))
            y = fastln.batch_norm(x, mean, var, weight, bias, eps)
            assert_holds(y.swapaxes(0, 1).reshape(t.shape), lambda t=t: t, fmt, w, b, fine, f"{shape} {away}")
            for name, view in each_layout(x) if away else ():
                context = f"{shape}, {name}"
                assert_same([fastln.batch_norm(view, mean, var, weight, bias, eps)], [y], context)
                for axis in (0, -1):
                    moved = np.moveaxis(view, 1, axis)
                    got = fastln.batch_norm(moved, mean, var, weight, bias, eps, axis=axis)
                    assert_same([np.moveaxis(got, axis, 1)], [y], f"{context}, axis {axis}")
                out = LAYOUTS[name](np.zeros_like(x))
                assert fastln.batch_norm(x, mean, var, weight, bias, eps, out=out) is out
                assert_same([out], [y], f"{context}, out")
                fastln.batch_norm(view, mean, var, weight, bias, eps, out=view)
                assert_same([view], [y], f"{context}, in place")


def test_batch_norm_of_one_dimension(isa):
    np.testing.assert_array_equal(fastln.batch_norm([1.0, 2.0], [0.0, 1.0], [1.0, 4.0], eps=0.0, axis=0), [1.0, 0.5])


# ----------------------------------------------------------------------------------------------------------------------
# AdaNorm


@every_format
def test_ada_norm(fmt, isa):
    for i, n in enumerate((1, 2, 7, 16, 33, 100, 300, 1025, 5003)):
        rows = vectors.rows(fmt, n, 27 if n < 1000 else 5)
        m = oracle.moments(rows)
        c, k = ((1.0, 0.1), (2.5, -0.7), (-1e-3, 30.0))[i % 3]
        t = oracle.normalize(m, EPS[i % 3]).t
        rounded = fmt.compute.type(c), fmt.compute.type(-c * k)
        exact = oracle.ada(t, *rounded)
        y = fastln.ada_norm(rows, c, k, EPS[i % 3])
        assert y.dtype == fmt.dtype
        allowed = contract.ada_allowance(oracle.high(t), oracle.high(exact), fmt, *map(float, rounded))
        units = contract.units_of(y, exact, allowed, fmt)[m.in_contract]
        assert (units <= 1).all(), f"length {n}: {units.max()}"
        cube = np.ascontiguousarray(rows.T)[None]
        for name, view in each_layout(cube):
            assert_same([fastln.ada_norm(view, c, k, EPS[i % 3], axis=1)[0].T], [y], f"{n} {name}")
            fastln.ada_norm(view, c, k, EPS[i % 3], axis=1, out=view)
            assert_same([view[0].T], [y], f"{n} {name}, in place")


# ----------------------------------------------------------------------------------------------------------------------
# Threads


@pytest.mark.parametrize("fmt", [FORMATS[0], FORMATS[1], FORMATS[2]], ids=str)
def test_threads(fmt):
    """Many short groups, long ones, columns and a few huge rows, each on one, two and three threads."""
    rng = vectors.generator(fmt, 9)

    def results(x, weight, bias, full):
        channels = x.shape[1]
        mean, var = np.linspace(-1, 2, channels), np.linspace(0.5, 2, channels)
        yield fastln.group_norm(x, channels // 4, weight, bias)
        yield fastln.instance_norm(x, weight, bias)
        yield fastln.batch_norm(x, mean, var, weight, bias)
        yield fastln.batch_norm(np.moveaxis(x, 1, -1), mean, var, weight, bias, axis=-1)
        yield fastln.layer_norm(x, full, full, axis=1)
        yield fastln.ada_norm(x, axis=1)
        yield from fastln.batch_moments(x)
        yield from fastln.moments(x, axis=1)

    for shape in ((2_000, 16, 9), (3, 64, 1_501), (1, 4, 80_003)):
        x = fmt.cast(rng.standard_normal(shape) * 3 + 5)
        x.reshape(-1)[:: x.size // 5] = fmt.max  # a few for the cold path
        weight, bias = vectors.parameters(fmt, shape[1])
        full = rng.standard_normal((shape[0], shape[1], 1)).astype(fmt.compute)
        for view in (x, LAYOUTS["channels last"](x)):
            with fastln.num_threads(1):
                expected = list(results(view, weight, bias, full))
            for n in (2, 3):
                with fastln.num_threads(n):
                    assert_same(results(view, weight, bias, full), expected, f"{shape}, {n} threads")


def test_statistics_that_overlap_out():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((64, 64))
    for i in (0, 5, 63):
        expected = fastln.normalize(x, x[i].copy(), x[i].copy() ** 2)
        y = x.copy()
        assert_same([fastln.normalize(y, y[i], x[i] ** 2, out=y)], [expected])
        y = np.square(x)
        expected = fastln.normalize(y.copy(), None, y[i].copy())
        assert_same([fastln.normalize(y, None, y[i], out=y)], [expected])
    x = rng.standard_normal((4, 64, 8))
    expected = fastln.batch_norm(x, x.ravel()[:64].copy(), np.ones(64))
    assert_same([fastln.batch_norm(x, x.ravel()[:64], np.ones(64), out=x)], [expected])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_and_negative_factors(dtype, isa):
    x = np.array([[1, 2, 1.5, -9, 100]], dtype)
    for rstd in (np.inf, -np.inf, *((1e300, -1e300) if dtype == np.float32 else ())):
        away = np.sign(x[0, 1:].astype(np.float64) - 1) * np.sign(rstd)
        np.testing.assert_array_equal(fastln.normalize(x, [1.0], [rstd])[0], [0, *(away * np.inf)])
    np.testing.assert_array_equal(fastln.batch_norm(x[:, :2], [1.0, 1.0], [0.0, 0.0], eps=0.0), [[0, np.inf]])


def test_a_broadcast_weight_with_an_offset_is_what_it_was_made_of():
    rng = np.random.default_rng(6)
    x, weight = rng.standard_normal((3, 5, 40)), rng.standard_normal(40)
    expected = fastln.layer_norm(x, weight, weight_offset=1.0)
    assert_same([fastln.layer_norm(x, np.broadcast_to(weight, x.shape), weight_offset=1.0)], [expected])


def test_prepared_objects():
    for norm in (fastln.GroupNorm(2, [1.0, 2.0]), fastln.BatchNorm([1.0, 2.0], [1.0, 1.0], [3.0, 4.0])):
        again = pickle.loads(pickle.dumps(norm))
        assert not again.weight.flags.writeable
        x = np.arange(6.0).reshape(3, 2)
        assert_same([again(x)], [norm(x)])
        assert repr(again) == repr(norm)
        with pytest.raises(ValueError, match=r"x: expected 2 channels at axis 1, got shape \(3, 4\)"):
            norm(np.ones((3, 4)))
    with pytest.raises(TypeError, match="channel_axis: expected an int"):
        fastln.GroupNorm(2, channel_axis="x")
    assert repr(fastln.GroupNorm(2)) == "<GroupNorm: 2 groups, eps=1e-05, channel_axis=1>"
    assert repr(fastln.BatchNorm([1.0], [2.0], eps=0.5)) == "<BatchNorm: shape (1,), eps=0.5, axis=1>"


def test_ada_norm_refuses_what_its_dtype_cannot_hold():
    with pytest.raises(ValueError, match="c and k: expected c and c \\* k in the range of float32"):
        fastln.ada_norm(np.ones((2, 3), np.float32), 1e39)


def test_channels_last_take_other_byte_orders_and_parameters_inside_out():
    rng = np.random.default_rng(9)
    x, weight = rng.standard_normal((20, 32, 32, 64), np.float32), rng.standard_normal(64, np.float32)
    expected = fastln.group_norm(x, 8, weight, weight, channel_axis=-1)
    swapped = x.astype(x.dtype.newbyteorder())
    assert_same([fastln.group_norm(swapped, 8, weight, weight, channel_axis=-1)], [expected])
    out = np.empty_like(x)
    out[0, 0, 0] = weight
    fastln.group_norm(x, 8, out[0, 0, 0], out[0, 0, 0], channel_axis=-1, out=out)
    assert_same([out], [expected])
