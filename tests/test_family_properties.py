"""Random shapes, strides, axes and repeated parameters for the rest of the family (hypothesis)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
import fastln
import oracle
import vectors
from test_properties import arrays_and_axes, normalized_last
from test_same_bits import assert_same

formats = st.sampled_from(vectors.FORMATS)


def numbers(draw, shape, fmt):
    """A parameter of that shape, or none: of one dtype or the other, with any strides."""
    dtype = draw(st.sampled_from([None, fmt.dtype, fmt.compute, fmt.compute]))
    if dtype is None:
        return None
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    p = rng.standard_normal([2 * n for n in shape]).astype(dtype)[tuple(slice(None, n) for n in shape)]
    return draw(st.sampled_from([p, p.copy(), np.asfortranarray(p), np.flip(np.flip(p).copy())]))


def outputs(draw, x):
    """None, x itself or an array of another layout."""
    kind = draw(st.sampled_from(["none", "x", "other", "reversed"]))
    if kind in ("none", "x"):
        return x if kind == "x" else None
    order = draw(st.permutations(range(x.ndim)))
    memory = np.zeros([x.shape[i] for i in order], x.dtype).transpose(np.argsort(order))
    return memory if kind == "other" else np.flip(memory)


def assert_holds(y, before, axes, fmt, eps, weight, bias):
    if y.size == 0:
        return
    m = oracle.moments(normalized_last(before, axes))
    w, b = (
        None if p is None else normalized_last(np.broadcast_to(p, before.shape), axes).astype(fmt.compute)
        for p in (weight, bias)
    )
    contract.assert_holds(normalized_last(y, axes), oracle.normalize(m, eps).t, fmt, w, b, m.in_contract)


@given(st.data(), formats)
@settings(max_examples=80)
def test_modulation(data, fmt):
    x, axes = data.draw(arrays_and_axes(fmt))
    normalized = {axis % x.ndim for axis in axes}
    weight, bias = (
        numbers(
            data.draw,
            [n if i in normalized or data.draw(st.booleans()) else 1 for i, n in enumerate(x.shape)],
            fmt,
        )
        for _ in range(2)
    )
    before, out = x.copy(), outputs(data.draw, x)
    y = fastln.layer_norm(x, weight, bias, axis=axes, out=out)
    assert out is None or y is out
    assert_holds(y, before, axes, fmt, 1e-5, weight, bias)


@given(st.data(), formats)
@settings(max_examples=80)
def test_group_norm(data, fmt):
    x, _ = data.draw(arrays_and_axes(fmt))
    if x.ndim == 1:
        x = x[None]
    channel = data.draw(st.integers(1, x.ndim - 1))
    channels = x.shape[channel]
    groups = data.draw(st.sampled_from([g for g in range(1, max(channels, 1) + 1) if channels % g == 0]))
    weight, bias = (numbers(data.draw, [channels], fmt) for _ in range(2))
    before, out = x.copy(), outputs(data.draw, x)
    sign = data.draw(st.sampled_from([0, x.ndim]))
    y = fastln.group_norm(x, groups, weight, bias, channel_axis=channel - sign, out=out)
    assert out is None or y is out
    shape = [*x.shape[:channel], groups, channels // groups, *x.shape[channel + 1 :]]
    own = [1] * len(shape)
    own[channel : channel + 2] = shape[channel : channel + 2]
    w, b = (None if p is None else p.reshape(own) for p in (weight, bias))
    axes = [i for i in range(1, len(shape)) if i != channel]
    assert_holds(y.reshape(shape), before.reshape(shape), axes, fmt, 1e-5, w, b)


@given(st.data(), formats)
@settings(max_examples=50)
def test_batch_norm(data, fmt):
    x, axes = data.draw(arrays_and_axes(fmt))
    channel = axes[0] % x.ndim
    channels = x.shape[channel]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    far = data.draw(st.sampled_from([1.0, 1e6]))
    mean, var = far * rng.standard_normal(channels), rng.uniform(0.1, 3, channels)
    weight, bias = (numbers(data.draw, [channels], fmt) for _ in range(2))
    before, out = x.copy(), outputs(data.draw, x)
    y = fastln.batch_norm(x, mean, var, weight, bias, axis=axes[0], out=out)
    assert out is None or y is out
    if x.size:
        rows = np.moveaxis(before, channel, 0).reshape(channels, -1)
        t = oracle.given(rows, mean[:, None], oracle.rstd_of(var[:, None], 1e-5, fmt.name == "float64"))
        w, b = (None if p is None else p.astype(fmt.compute)[:, None] for p in (weight, bias))
        contract.assert_holds(np.moveaxis(y, channel, 0).reshape(rows.shape), t, fmt, w, b)


@given(st.data(), formats)
@settings(max_examples=50)
def test_sums(data, fmt):
    x, _ = data.draw(arrays_and_axes(fmt))
    residual = numbers(data.draw, x.shape, fmt)
    residual = x if residual is None else residual.astype(fmt.dtype)
    before = x.copy(), residual.copy()
    shape = [*(n if data.draw(st.booleans()) else 1 for n in x.shape[:-1]), x.shape[-1]]
    weight, bias = (numbers(data.draw, shape, fmt) for _ in range(2))
    out = outputs(data.draw, x)
    sum_out = data.draw(st.sampled_from([None, residual, np.zeros_like(x)]))
    if sum_out is not None and out is not None and np.may_share_memory(sum_out, out):
        sum_out = None
    y, s = fastln.add_layer_norm(x, residual, weight, bias, out=out, sum_out=sum_out)
    total = before[0].astype(fmt.compute) + before[1].astype(fmt.compute)
    expected = fastln.layer_norm(total, weight, bias).astype(fmt.dtype)
    assert_same([y, s], [expected, total.astype(fmt.dtype)])
