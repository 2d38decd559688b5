"""What must be refused, how the refusal reads, and that nothing was written by then."""

import re

import ml_dtypes
import numpy as np
import pytest

import fastln

OPERATIONS = [fastln.layer_norm, fastln.rms_norm]
AxisError = getattr(np, "exceptions", np).AxisError
ACCEPTED = "expected float16, bfloat16, float32, float64, bool or an integer dtype, got "


def refuses(error, message, operation, *args, **kwargs):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        operation(*args, **kwargs)


BAD_ARRAYS = [
    (np.zeros((2, 3), np.complex64), "complex64"),
    (np.zeros((2, 3), np.complex128), "complex128"),
    (np.zeros((2, 3), np.longdouble), str(np.dtype(np.longdouble))),
    (np.zeros((2, 3), object), "object"),
    (np.zeros((2, 3), "U5"), "<U5"),
    (np.zeros((2, 3), "S5"), "|S5"),
    (np.zeros((2, 3), "M8[s]"), "datetime64[s]"),
    (np.zeros((2, 3), "m8[s]"), "timedelta64[s]"),
    (np.zeros((2, 3), "V4"), "|V4"),
    (np.zeros((2, 3), [("a", "f4")]), "[('a', '<f4')]"),
    (np.zeros((2, 3), ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
    (np.ma.zeros((2, 3)), "a masked array"),
    ([["a", "b", "c"]] * 2, "<U1"),
    (None, "object"),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("bad", "name"), BAD_ARRAYS, ids=[name for _, name in BAD_ARRAYS])
def test_dtypes(operation, bad, name):
    refuses(TypeError, f"x: {ACCEPTED}{name}", operation, bad)
    if bad is not None:
        bad = bad[0]
        refuses(TypeError, f"weight: {ACCEPTED}{name}", operation, np.zeros((2, 3)), bad)
        if operation is fastln.layer_norm:
            refuses(TypeError, f"bias: {ACCEPTED}{name}", operation, np.zeros((2, 3), np.float32), None, bad)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("x", "axis"), [(5.0, -1), (np.float32(1), 0), (np.zeros(3), 1), (np.zeros(3), -2), (np.zeros((2, 3)), (0, 2))]
)
def test_axis_out_of_range(operation, x, axis):
    first = axis if np.isscalar(axis) else axis[1]
    message = f"axis {first} is out of bounds for array of dimension {np.ndim(x)}"
    refuses(AxisError, message, operation, x, axis=axis)
    with pytest.raises((ValueError, IndexError)):  # NumPy's is both
        operation(x, axis=axis)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_axis(operation):
    x = np.zeros((2, 3, 4))
    for axis in ((1, 1), (1, -2), [0, 2, 0]):
        refuses(ValueError, f"axis: expected each axis once, got {axis} for 3 dimensions", operation, x, axis=axis)
    for axis in ((), []):
        refuses(ValueError, f"axis: expected at least one axis, got {axis}", operation, x, axis=axis)
    for axis in (None, 1.0, "1", (1, "2"), {1}, np.array([1, 2])):
        refuses(TypeError, f"axis: expected an int or a tuple of ints, got {axis!r}", operation, x, axis=axis)
    with pytest.raises(AxisError):
        operation(x, axis=10**30)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_eps(operation):
    for eps in (-1e-5, float("nan"), float("inf"), -1, np.float32(-1)):
        refuses(ValueError, f"eps: expected a finite number >= 0, got {eps}", operation, np.zeros(3), eps=eps)
    refuses(
        ValueError,
        "eps: expected a number in the range of float64, got a larger one",
        operation,
        np.zeros(3),
        eps=10**400,
    )
    for eps in ("1e-5", None, 1j, np.complex64(1), [1e-5], b"1"):
        name = type(eps).__name__
        refuses(TypeError, f"eps: expected a real number, got {name}", operation, np.zeros(3), eps=eps)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_flags(operation):
    message = "return_stats: expected True or False, got ndarray"
    refuses(TypeError, message, operation, np.zeros(3), return_stats=np.ones(2))
    assert len(operation(np.zeros(3), return_stats=np.True_)) == len(operation(np.zeros(3), return_stats=1))


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "1.24.0", reason="NumPy makes arrays of objects of them")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_lists_of_several_lengths(operation):
    ragged = [[1.0, 2.0], [3.0]]
    with pytest.raises(
        ValueError, match=r"^x: expected an array, got a list of which NumPy makes none: .*inhomogeneous"
    ):
        operation(ragged)
    with pytest.raises(ValueError, match=r"^weight: expected an array, got a list of which NumPy makes none"):
        operation(np.zeros((2, 2)), ragged, axis=(0, 1))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_shape_of_weight(operation):
    x = np.zeros((2, 3, 4), np.float32)
    for shape in ((3,), (5,), (4, 1), (1, 4), (), (1,), (0,)):
        message = f"weight: expected shape (4,), got {shape}"
        refuses(ValueError, message, operation, x, np.zeros(shape, np.float32))
    refuses(ValueError, "weight: expected shape (2, 4), got (4, 2)", operation, x, np.zeros((4, 2)), axis=(2, 0))
    refuses(ValueError, "weight: expected shape (3, 4), got (12,)", operation, x, np.zeros(12), axis=(1, 2))


def test_shape_of_bias():
    x = np.zeros((2, 768), np.float32)
    refuses(ValueError, "bias: expected shape (768,), got (512,)", fastln.layer_norm, x, None, np.zeros(512))


def test_weight_offset():
    x, weight = np.zeros((2, 3)), np.zeros(3)
    refuses(ValueError, "weight_offset: expected 0.0 without a weight, got 1.0", fastln.rms_norm, x, weight_offset=1.0)
    for offset in (float("nan"), float("inf")):
        message = f"weight_offset: expected a finite number, got {offset}"
        refuses(ValueError, message, fastln.rms_norm, x, weight, weight_offset=offset)
    for offset in ("1", None):
        message = f"weight_offset: expected a real number, got {type(offset).__name__}"
        refuses(TypeError, message, fastln.rms_norm, x, weight, weight_offset=offset)


def read_only(a):
    a.flags.writeable = False
    return a


BAD_OUTS = [
    ([[0.0] * 3] * 2, TypeError, "expected a NumPy array, got list"),
    (np.ma.zeros((2, 3)), TypeError, f"{ACCEPTED}a masked array"),
    (np.zeros((2, 3), np.float32), TypeError, "expected dtype float64, got float32"),
    (np.zeros((2, 3), ">f8"), TypeError, "expected dtype float64, got >f8"),
    (np.zeros((2, 3), np.int64), TypeError, "expected dtype float64, got int64"),
    (np.zeros((3, 2)), ValueError, "expected shape (2, 3), got (3, 2)"),
    (np.zeros((1, 2, 3)), ValueError, "expected shape (2, 3), got (1, 2, 3)"),
    (np.zeros((4, 2, 3)), ValueError, "expected shape (2, 3), got (4, 2, 3)"),
    (np.zeros(()), ValueError, "expected shape (2, 3), got ()"),
    (read_only(np.zeros((2, 3))), ValueError, "expected a writeable array, got a read-only one"),
    (np.broadcast_to(np.zeros(3), (2, 3)), ValueError, "expected a writeable array, got a read-only one"),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("out", "error", "message"), BAD_OUTS)
def test_out(operation, out, error, message):
    refuses(error, f"out: {message}", operation, np.ones((2, 3)), out=out)
    assert not np.any(out)


@pytest.mark.parametrize("x", [np.ones((2, 3), np.float16), np.ones((2, 3), ml_dtypes.bfloat16)])
def test_out_of_another_half_type(x):
    for dtype in {np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.uint16)} - {x.dtype}:
        message = f"out: expected dtype {x.dtype}, got {dtype}"
        refuses(TypeError, message, fastln.layer_norm, x, out=np.zeros((2, 3), dtype))


@pytest.mark.parametrize(
    "bad",
    [
        {"weight": np.ones(4)},
        {"weight": ["a", "b", "c"]},
        {"bias": np.ones((1, 4))},
        {"bias": np.ones((3, 3))},
        {"bias": np.ones(3, complex)},
        {"eps": -1},
        {"eps": "small"},
        {"axis": 2},
        {"axis": ()},
    ],
    ids=str,
)
def test_nothing_is_written_when_a_call_raises(bad):
    for x in (np.ones((2, 3)), np.ones((2, 3), int), np.ones((2, 6))[:, ::2]):
        out = np.full((2, 3), 7.0)
        with pytest.raises((TypeError, ValueError)):
            fastln.layer_norm(x, **bad, out=out)
        assert (out == 7).all()


def test_missing_and_unknown_arguments():
    for operation in OPERATIONS:
        with pytest.raises(TypeError):
            operation()
        with pytest.raises(TypeError):
            operation(np.zeros(3), wieght=np.zeros(3))


def test_read_only_inputs():
    x, weight = read_only(np.arange(6.0).reshape(2, 3)), read_only(np.ones(3))
    assert fastln.layer_norm(x, weight, weight).flags.writeable


def test_memory_error_is_passed_on():
    x = np.broadcast_to(np.float64(1), (1 << 44, 8))
    with pytest.raises(MemoryError):
        fastln.layer_norm(x)
