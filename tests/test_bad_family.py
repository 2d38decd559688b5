"""What the rest of the family must refuse, how the refusals read, and that nothing was written; empty arrays."""

import numpy as np
import pytest

import fastln
from test_bad_input import ACCEPTED, BAD_ARRAYS, BAD_OUTS, AxisError, read_only, refuses

X = np.arange(24.0).reshape(2, 4, 3)
VECTOR, ROWS = np.ones(4), np.ones((2, 4))
NUMBERS = (
    (float("nan"), ValueError),
    (float("inf"), ValueError),
    (-1.0, ValueError),
    ("1", TypeError),
    (None, TypeError),
)

# How each is called with good arguments; all take `out`.
CALLS = {
    "group_norm": (fastln.group_norm, {"x": X, "num_groups": 2, "weight": VECTOR, "bias": VECTOR}),
    "instance_norm": (fastln.instance_norm, {"x": X, "weight": VECTOR, "bias": VECTOR}),
    "batch_norm": (
        fastln.batch_norm,
        {"x": X, "mean": VECTOR, "var": VECTOR, "weight": VECTOR, "bias": VECTOR},
    ),
    "normalize": (
        fastln.normalize,
        {"x": X, "mean": ROWS, "rstd": ROWS, "weight": np.ones(3), "bias": np.ones(3)},
    ),
    "ada_norm": (fastln.ada_norm, {"x": X, "c": 1.0, "k": 0.1}),
    "add_layer_norm": (fastln.add_layer_norm, {"x": X, "residual": X, "weight": np.ones(3), "bias": np.ones(3)}),
    "add_rms_norm": (fastln.add_rms_norm, {"x": X, "residual": X, "weight": np.ones(3)}),
}
every_call = pytest.mark.parametrize("name", CALLS)


def refuses_with(name, error, message, **bad):
    function, good = CALLS[name]
    out = np.full_like(X, 7)
    refuses(error, message, function, **{"out": out} | good | bad)
    assert (out == 7).all()


@every_call
@pytest.mark.parametrize(("bad", "dtype"), BAD_ARRAYS, ids=[name for _, name in BAD_ARRAYS])
def test_dtypes(name, bad, dtype):
    for argument in CALLS[name][1]:
        is_parameter = argument in ("weight", "bias")
        if argument in ("num_groups", "c", "k") or (bad is None and (is_parameter or argument == "mean")):
            continue
        of_shape = bad[0] if is_parameter else bad  # (3,)
        refuses_with(name, TypeError, f"{argument}: {ACCEPTED}{dtype}", **{argument: of_shape})


class Tagged(np.ndarray):
    """Such as np.memmap."""


@every_call
def test_out_is_what_is_returned(name):
    function, good = CALLS[name]
    out = np.zeros_like(X).view(Tagged)
    y = function(**good, out=out)
    assert (y[0] if isinstance(y, tuple) else y) is out
    assert out.any()


def test_an_axis_too_many():
    """Where a view with one more is needed."""
    most = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0b1" else 32
    x, c = np.ones((1,) * (most - 1) + (4,)), np.ones(4)
    message = f"x: expected at most {most - 1} dimensions, got {most}"
    refuses(ValueError, message, fastln.batch_norm, x, c, c, axis=-1)
    refuses(ValueError, message, fastln.batch_moments, x, axis=-1)
    refuses(ValueError, message, fastln.group_norm, x, 2, channel_axis=-1)
    for function in (fastln.layer_norm, fastln.ada_norm, fastln.moments):
        function(x)


@every_call
@pytest.mark.parametrize(("bad", "error", "message"), BAD_OUTS)
def test_out(name, bad, error, message):
    function, good = CALLS[name]
    x = np.ones((2, 3))
    good = dict.fromkeys(good) | {"x": x}
    good |= {
        "group_norm": {"num_groups": 1},
        "batch_norm": {"mean": np.ones(3), "var": np.ones(3)},
        "normalize": {"rstd": np.ones(2)},
        "ada_norm": {"c": 1, "k": 1},
        "add_layer_norm": {"residual": x},
        "add_rms_norm": {"residual": x},
    }.get(name, {})
    refuses(error, f"out: {message}", function, **good, out=bad)
    if name.startswith("add"):
        refuses(error, f"sum_out: {message}", function, **good, sum_out=bad)
    assert not np.any(bad)


@every_call
def test_eps(name):
    if name == "normalize":
        return
    for bad, error in NUMBERS:
        expected = "a real number" if error is TypeError else "a finite number >= 0"
        got = type(bad).__name__ if error is TypeError else bad
        refuses_with(name, error, f"eps: expected {expected}, got {got}", eps=bad)


@pytest.mark.parametrize("name", ["group_norm", "instance_norm"])
def test_channel_axis(name):
    function, good = CALLS[name]
    for axis in (0, -3):
        message = f"channel_axis: expected another axis than the first, that of the samples, got {axis}"
        refuses_with(name, ValueError, message, channel_axis=axis)
    for axis in (3, -4):
        message = f"axis {axis} is out of bounds for array of dimension 3"
        refuses_with(name, AxisError, message, channel_axis=axis)
    for axis in (1.0, "1", None, (1, 2)):
        refuses_with(name, TypeError, f"channel_axis: expected an int, got {axis!r}", channel_axis=axis)
    for x in (np.ones(3), 5.0):
        message = f"x: expected at least 2 dimensions, got shape {np.shape(x)}"
        refuses(ValueError, message, function, **good | {"x": x})


def test_num_groups():
    for groups in (0, -1, 3, 5, 8):
        message = f"num_groups: expected a divisor of the 4 channels, got {groups}"
        refuses_with("group_norm", ValueError, message, num_groups=groups)
    for groups in (2.0, "2", None):
        message = f"num_groups: expected an int, got {groups!r}"
        refuses_with("group_norm", TypeError, message, num_groups=groups)


@pytest.mark.parametrize("name", ["group_norm", "instance_norm", "batch_norm"])
def test_shapes_of_channels(name):
    arguments = ["weight", "bias"] + ["mean", "var"] * (name == "batch_norm")
    for argument in arguments:
        for shape in ((3,), (5,), (1,), (), (1, 4), (4, 1), (0,)):
            message = f"{argument}: expected shape (4,), got {shape}"
            refuses_with(name, ValueError, message, **{argument: np.ones(shape)})


def test_axis_of_batch_norm():
    for axis in (3, -4):
        message = f"axis {axis} is out of bounds for array of dimension 3"
        refuses_with("batch_norm", AxisError, message, axis=axis)
        refuses(AxisError, message, fastln.batch_moments, X, axis=axis)
    for axis in ((0, 1), 1.0, None):
        refuses_with("batch_norm", TypeError, f"axis: expected an int, got {axis!r}", axis=axis)
        refuses(TypeError, f"axis: expected an int, got {axis!r}", fastln.batch_moments, X, axis=axis)
    for function, *others in ((fastln.batch_norm, [1.0], [1.0]), (fastln.batch_moments,)):
        with pytest.raises(AxisError):
            function(5.0, *others, axis=0)


def test_shapes_of_normalize():
    for argument in ("mean", "rstd"):
        for shape in ((4, 2), (8,), (2, 4, 1), (1, 4), ()):
            message = f"{argument}: expected shape (2, 4), got {shape}"
            refuses_with("normalize", ValueError, message, **{argument: np.ones(shape)})
    refuses_with("normalize", ValueError, "axis: expected at least one axis, got ()", axis=())
    refuses_with("normalize", ValueError, "weight: expected shape (3,), got (4,)", weight=np.ones(4))
    message = "bias: expected shape (3,) or (1 or 2, 1 or 4, 3), got (2, 4, 1)"
    refuses_with("normalize", ValueError, message, bias=np.ones((2, 4, 1)))


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "add_layer_norm", "add_rms_norm"])
def test_shapes_of_modulation(name):
    """Not the normalized axis, and not with other sizes."""
    function = getattr(fastln, name)
    others = [X] * name.startswith("add")
    for argument in ["weight"] + ["bias"] * ("layer" in name):
        for shape in ((2, 4, 1), (2, 1, 1), (2, 3, 3), (3, 1, 3), (1, 4, 4), (2, 4, 6)):
            message = f"{argument}: expected shape (3,) or (1 or 2, 1 or 4, 3), got {shape}"
            refuses(ValueError, message, function, X, *others, **{argument: np.ones(shape)})
        for shape in ((4, 3), (1, 3), (4,), (), (1, 2, 4, 3)):
            message = f"{argument}: expected shape (3,), got {shape}"
            refuses(ValueError, message, function, X, *others, **{argument: np.ones(shape)})
    if not others:
        message = "weight: expected shape (4,) or (1 or 2, 4, 1 or 3), got (1, 1, 3)"
        refuses(ValueError, message, function, X, np.ones((1, 1, 3)), axis=1)
        message = "weight: expected shape (2, 4, 3), got (1, 4, 3)"  # no axis is left to repeat along
        refuses(ValueError, message, function, X, np.ones((1, 4, 3)), axis=(0, 1, 2))


def test_ada_norm():
    for argument in ("c", "k"):
        for bad in (float("nan"), float("inf"), -float("inf")):
            refuses_with("ada_norm", ValueError, f"{argument}: expected a finite number, got {bad}", **{argument: bad})
        for bad in ("1", None, 1j, [1.0]):
            message = f"{argument}: expected a real number, got {type(bad).__name__}"
            refuses_with("ada_norm", TypeError, message, **{argument: bad})
    refuses_with("ada_norm", AxisError, "axis 3 is out of bounds for array of dimension 3", axis=3)


@pytest.mark.parametrize("name", ["add_layer_norm", "add_rms_norm"])
def test_sums(name):
    function, good = CALLS[name]
    for shape in ((3,), (1, 4, 3), (2, 4, 1), (2, 3, 4), ()):
        message = f"residual: expected shape (2, 4, 3), got {shape}"
        refuses_with(name, ValueError, message, residual=np.ones(shape))
    message = "sum_out: expected another array than out, got one that shares memory with it"
    memory = np.full(40, 7.0)
    for out, sum_out in (
        (memory[:24].reshape(X.shape), memory[:24].reshape(X.shape)),
        (memory[:24].reshape(X.shape), memory[5:29].reshape(X.shape)),
    ):
        refuses(ValueError, message, function, **good, out=out, sum_out=sum_out)
    assert (memory == 7).all()
    with pytest.raises(AxisError):
        function(5.0, 5.0)
    refuses_with(
        name, ValueError, "weight_offset: expected 0.0 without a weight, got 1.0", weight=None, weight_offset=1.0
    )
    for bad in ({"weight": np.ones(4)}, {"eps": -1}, {"residual": np.ones(3)}, {"out": np.ones(3)}):
        sum_out = np.full_like(X, 7)
        with pytest.raises(ValueError, match="expected"):
            function(**good | bad, sum_out=sum_out)
        assert (sum_out == 7).all()


def test_weight_offset_of_layer_norm():
    message = "weight_offset: expected 0.0 without a weight, got 1.0"
    refuses(ValueError, message, fastln.layer_norm, X, None, np.ones(3), weight_offset=1.0)
    for bad in (float("nan"), float("inf")):
        message = f"weight_offset: expected a finite number, got {bad}"
        refuses(ValueError, message, fastln.layer_norm, X, np.ones(3), weight_offset=bad)


@pytest.mark.parametrize(("bad", "dtype"), BAD_ARRAYS, ids=[name for _, name in BAD_ARRAYS])
def test_dtypes_of_moments(bad, dtype):
    for function in (fastln.moments, fastln.batch_moments):
        refuses(TypeError, f"x: {ACCEPTED}{dtype}", function, bad)
    good = {"counts": [1.0, 2.0], "means": np.ones((2, 3)), "variances": np.ones((2, 3))}
    for argument in good:
        refuses(TypeError, f"{argument}: {ACCEPTED}{dtype}", fastln.merge_moments, **good | {argument: bad})
    for argument in ("mean", "var"):
        a, b = np.full((2, 4), 7.0)
        new = {"mean": VECTOR, "var": VECTOR} | {argument: bad}
        refuses(TypeError, f"{argument}: {ACCEPTED}{dtype}", fastln.update_running, a, b, **new, count=3)
        assert (a == 7).all()
        assert (b == 7).all()


def test_moments():
    refuses(ValueError, "axis: expected at least one axis, got ()", fastln.moments, X, axis=())
    refuses(ValueError, "axis: expected each axis once, got (1, -2) for 3 dimensions", fastln.moments, X, axis=(1, -2))
    refuses(TypeError, "axis: expected an int or a tuple of ints, got None", fastln.moments, X, axis=None)
    refuses(AxisError, "axis -1 is out of bounds for array of dimension 0", fastln.moments, 5.0)


def test_merge_moments():
    one, two = np.ones((3, 2)), np.ones((3, 2))
    refuses(
        ValueError,
        "variances: expected shape (3, 2), as means, got (2, 3)",
        fastln.merge_moments,
        [1] * 3,
        one,
        np.ones((2, 3)),
    )
    for counts in (np.ones(2), np.ones(4), np.ones((2, 2)), np.ones((3, 2, 1))):
        message = f"counts: expected a shape that broadcasts to (3, 2), got {counts.shape}"
        refuses(ValueError, message, fastln.merge_moments, counts, one, two)
    for counts in ([1, -1, 2], [1, np.nan, 2]):
        refuses(ValueError, "counts: expected numbers >= 0, got others", fastln.merge_moments, counts, one, two)
    refuses(
        AxisError, "axis 2 is out of bounds for array of dimension 2", fastln.merge_moments, [1] * 3, one, two, axis=2
    )
    refuses(TypeError, "axis: expected an int, got (0, 1)", fastln.merge_moments, [1] * 3, one, two, axis=(0, 1))
    with pytest.raises(AxisError):
        fastln.merge_moments(1, 2.0, 3.0)


def test_update_running():
    def check(error, message, **bad):
        a, b = np.full((2, 4), 7.0)
        good = {"running_mean": a, "running_var": b, "mean": VECTOR, "var": VECTOR, "count": 5}
        refuses(error, message, fastln.update_running, **good | bad)
        assert (a == 7).all()
        assert (b == 7).all()

    check(ValueError, "count: expected at least 2, got 1", count=1)
    check(ValueError, "count: expected at least 1, got 0", count=0, unbiased=False)
    check(TypeError, "count: expected an int, got 2.0", count=2.0)
    check(ValueError, "mean: expected shape (4,), got (3,)", mean=np.ones(3))
    check(ValueError, "var: expected shape (4,), got (1,)", var=np.ones(1))
    check(ValueError, "running_var: expected shape (4,), got (3,)", running_var=np.ones(3))
    for name in ("running_mean", "running_var"):
        for bad in ([1.0] * 4, np.float64(1)):
            check(TypeError, f"{name}: expected a NumPy array, got {type(bad).__name__}", **{name: bad})
        check(ValueError, f"{name}: expected shape (C,), got (1, 4)", **{name: np.ones((1, 4))})
        check(ValueError, f"{name}: expected a writeable array, got a read-only one", **{name: read_only(np.ones(4))})
        check(TypeError, f"{name}: expected a float dtype, got int64", **{name: np.ones(4, np.int64)})
    for bad in (float("nan"), float("inf")):
        check(ValueError, f"momentum: expected a finite number, got {bad}", momentum=bad)
    for bad in ("0.1", None):
        check(TypeError, f"momentum: expected a real number, got {type(bad).__name__}", momentum=bad)


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 4, 0), (0, 0, 0)])
def test_empty_arrays(shape):
    x = np.zeros(shape, np.float16)
    channels = np.ones(shape[1])
    for y in (
        fastln.instance_norm(x, channels, channels),
        fastln.group_norm(x, 1, channels, channels),
        fastln.group_norm(x, max(shape[1], 1), channels, channels, out=x),
        fastln.batch_norm(x, channels, channels, channels, channels),
        fastln.batch_norm(x, np.ones(shape[2]), np.ones(shape[2]), axis=-1),
        fastln.normalize(x, np.ones(shape[:2]), np.ones(shape[:2])),
        fastln.ada_norm(x),
        fastln.layer_norm(x, np.ones((1, *shape[1:])), np.ones((shape[0], 1, shape[2]))),
        *fastln.add_layer_norm(x, x, out=np.zeros_like(x)),
    ):
        assert y.shape == shape
        assert y.dtype == np.float16
