"""Random shapes, axes, strides, formats, overlaps and values, chosen to go wrong (hypothesis)."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import contract
import fastln
import oracle
import vectors

formats = st.sampled_from(vectors.FORMATS)
epsilons = st.sampled_from([1e-5, 1e-12, 0.0, 1.0]) | st.floats(0, 1e300)


def normalized_last(x, axes):
    """A copy of x as rows: the normalized axes, in their order, are the last."""
    axes = sorted(axis % x.ndim for axis in axes)
    moved = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim))
    length = int(np.prod([x.shape[axis] for axis in axes]))
    return np.ascontiguousarray(moved).reshape(-1, length)


@st.composite
def rows_of_values(draw, fmt):
    """Few rows of few values: any finite ones, or such as lie close to each other or are far from zero."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 40)))
    width = 8 * fmt.dtype.itemsize
    kind = draw(st.sampled_from(["any", "bits", "close", "few"]))
    if kind == "any":
        elements = st.floats(-fmt.max, fmt.max)
    elif kind == "bits":
        numbers = draw(hnp.arrays(f"u{width // 8}", shape))
        x = numbers.view(fmt.dtype)
        return np.where(np.isfinite(x), x, fmt.dtype.type(0))
    elif kind == "close":
        centre, step = draw(st.floats(-1e4, 1e4)), draw(st.floats(0, 1))
        elements = st.integers(-8, 8).map(lambda i: centre + i * step)
    else:
        few = draw(st.lists(st.floats(-fmt.max, fmt.max), min_size=1, max_size=3))
        elements = st.sampled_from(few)
    return fmt.cast(draw(hnp.arrays(np.float64, shape, elements=elements)))


@given(st.data(), formats, epsilons)
def test_accuracy(data, fmt, eps):
    x = data.draw(rows_of_values(fmt))
    for centred, operation in ((True, fastln.layer_norm), (False, fastln.rms_norm)):
        m = oracle.moments(x, centred)
        exact = oracle.normalize(m, eps)
        rows = m.in_contract if centred else np.ravel(oracle.high(m.variance) + eps) > 0
        y, *stats = operation(x, eps=eps, return_stats=True)
        contract.assert_holds(y, exact.t, fmt, rows=rows)
        contract.assert_stats_hold(stats[0] if centred else None, stats[-1], exact, fmt, rows)


@given(st.data(), formats)
def test_a_constant_row_gives_bias(data, fmt):
    value = fmt.cast(data.draw(st.floats(-fmt.max, fmt.max)))
    n, eps = data.draw(st.integers(1, 1000)), data.draw(epsilons)
    y = fastln.layer_norm(np.full(n, value), bias=np.full(n, 0.25, fmt.dtype), eps=eps)
    assert (y == fmt.dtype.type(0.25)).all()


@st.composite
def arrays_and_axes(draw, fmt, min_side=0):
    """An array of any layout (permuted, stepped, reversed, broadcast) and a set of its axes in any order."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=5, min_side=min_side, max_side=7))
    ndim = len(shape)
    order = draw(st.permutations(range(ndim)))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3, -1, -2]), min_size=ndim, max_size=ndim))
    larger = [n * abs(step) for n, step in zip(shape, steps, strict=True)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    memory = (rng.standard_normal([larger[axis] for axis in order]) * 3 + 1).astype(fmt.dtype)
    x = memory.transpose(np.argsort(order))[tuple(slice(None, None, step) for step in steps)]
    assert x.shape == shape
    axes = draw(st.lists(st.integers(0, ndim - 1), min_size=1, max_size=ndim, unique=True))
    return x, tuple(axis - ndim * draw(st.booleans()) for axis in axes)


@st.composite
def parameters(draw, x, axes):
    shape = tuple(x.shape[axis] for axis in sorted(axis % x.ndim for axis in axes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    fmt = vectors.BY_NAME[x.dtype.name]
    dtypes = [draw(st.sampled_from([None, fmt.dtype, fmt.compute])) for _ in range(2)]
    return [None if dtype is None else rng.standard_normal(shape).astype(dtype) for dtype in dtypes]


@given(st.data(), formats)
@settings(max_examples=400)
def test_shapes_strides_and_axes(data, fmt):
    x, axes = data.draw(arrays_and_axes(fmt))
    weight, bias = data.draw(parameters(x, axes))
    axis = axes[0] if len(axes) == 1 and data.draw(st.booleans()) else axes
    before = x.copy()
    y, mean, rstd = fastln.layer_norm(x, weight, bias, axis=axis, return_stats=True)
    assert y.shape == x.shape
    assert x.tobytes() == before.tobytes()
    others = tuple(n for i, n in enumerate(x.shape) if i not in {axis % x.ndim for axis in axes})
    assert mean.shape == rstd.shape == others
    if x.size == 0:
        return
    rows = normalized_last(x, axes)
    m = oracle.moments(rows)
    exact = oracle.normalize(m, 1e-5)
    weight, bias = (None if p is None else p.ravel() for p in (weight, bias))
    contract.assert_holds(normalized_last(y, axes), exact.t, fmt, weight, bias, m.in_contract)
    contract.assert_stats_hold(mean.ravel(), rstd.ravel(), exact, fmt, m.in_contract)


@given(st.data(), formats)
@settings(max_examples=400)
def test_out_of_any_layout(data, fmt):
    """Also one that overlaps with x, or with weight or bias, in whatever way."""
    x, axes = data.draw(arrays_and_axes(fmt, min_side=1))
    weight, bias = data.draw(parameters(x, axes))
    if weight is not None and weight.dtype != fmt.dtype:
        weight = weight.astype(fmt.dtype)
    expected = fastln.layer_norm(x, weight, bias, axis=axes)
    kind = data.draw(st.sampled_from(["same", "own layout", "shifted", "reversed", "transposed", "over weight"]))
    if kind == "same":
        out = x
    elif kind == "own layout":
        out = data.draw(arrays_and_axes(fmt, min_side=1))[0]
        assume(out.shape == x.shape)
    elif kind == "shifted":
        flat = np.zeros(x.size + 20, fmt.dtype)
        first, second = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
        source = flat[first : first + x.size].reshape(x.shape)
        out = flat[second : second + x.size].reshape(x.shape)
        source[...] = x
        x = source
    elif kind == "reversed":
        out = x[tuple(slice(None, None, -1) for _ in x.shape)]
    elif kind == "transposed":
        assume(x.ndim > 1 and x.shape[0] == x.shape[1])
        out = x.swapaxes(0, 1)
    else:
        assume(weight is not None)
        memory = np.zeros(x.size + weight.size, fmt.dtype)
        start = data.draw(st.integers(0, x.size))
        inside = memory[start : start + weight.size].reshape(weight.shape)
        inside[...] = weight
        weight, out = inside, memory[: x.size].reshape(x.shape)
    assert fastln.layer_norm(x, weight, bias, axis=axes, out=out) is out
    np.testing.assert_array_equal(out.view(f"u{out.itemsize}"), expected.view(f"u{expected.itemsize}"), kind)


@given(st.data(), formats)
def test_the_order_of_the_axes_has_no_meaning(data, fmt):
    x, axes = data.draw(arrays_and_axes(fmt))
    again = data.draw(st.permutations(axes))
    assert fastln.rms_norm(x, axis=tuple(again)).tobytes() == fastln.rms_norm(x, axis=axes).tobytes()


@given(st.data(), formats)
def test_rows_are_independent(data, fmt):
    x = data.draw(rows_of_values(fmt))
    order = data.draw(st.permutations(range(len(x))))
    y = fastln.layer_norm(x, eps=0.0)
    assert fastln.layer_norm(x[order], eps=0.0).tobytes() == y[order].tobytes()


@given(st.data(), st.sampled_from([vectors.BY_NAME["float32"], vectors.BY_NAME["float64"]]))
def test_every_scale(data, fmt):
    """The families at every scale from where they underflow to where they are clipped."""
    x = vectors.rows(fmt, data.draw(st.integers(1, 200)))
    limit = 150 if fmt.name == "float32" else 900
    k = data.draw(st.integers(-limit, limit))
    with np.errstate(over="ignore"):
        scaled = fmt.cast(np.ldexp(x.astype(np.float64), k))  # values may become 0, or the largest number
    m = oracle.moments(scaled)
    contract.assert_holds(fastln.layer_norm(scaled, eps=0.0), oracle.normalize(m, 0.0).t, fmt, rows=m.in_contract)
