"""What the public functions promise besides accuracy: axes, dtypes, layouts, out, overlap, statistics, settings.

Values are compared with NumPy's formula in float64; how exact they are is for test_accuracy.py."""

import doctest
import gc
import inspect
import itertools
import re
import shutil
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastln
from fastln import _core
from processes import python

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
TOLERANCE = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 2e-6, "float64": 1e-13}
OPERATIONS = [fastln.layer_norm, fastln.rms_norm]


@pytest.fixture
def rng():
    return np.random.default_rng(2016)


def formula(x, weight=None, bias=None, eps=1e-5, axis=-1, subtract_mean=True):
    x = np.asarray(x).astype(np.float64)
    axis = tuple(np.arange(x.ndim)[list(np.atleast_1d(axis))])
    shape = [n if i in axis else 1 for i, n in enumerate(x.shape)]
    y = (x - subtract_mean * x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)
    y = y if weight is None else y * np.asarray(weight).astype(np.float64).reshape(shape)
    return y if bias is None else y + np.asarray(bias).astype(np.float64).reshape(shape)


def rms_formula(x, weight=None, eps=1e-6, axis=-1):
    x = np.asarray(x).astype(np.float64)
    y = x / np.sqrt((x * x).mean(axis, keepdims=True) + eps)
    return y if weight is None else y * np.asarray(weight).astype(np.float64)


def assert_close(y, expected):
    tolerance = TOLERANCE[y.dtype.name]
    np.testing.assert_allclose(y.astype(np.float64), expected, rtol=4 * tolerance, atol=4 * tolerance)


# --- Signatures and documentation -----------------------------------------------------------------------------------


def test_signatures():
    assert str(inspect.signature(fastln.layer_norm)) == (
        "(x, weight=None, bias=None, eps=1e-05, *, axis=-1, out=None, return_stats=False, subtract_mean=True, "
        "weight_offset=0.0)"
    )
    assert str(inspect.signature(fastln.rms_norm)) == (
        "(x, weight=None, eps=1e-06, *, axis=-1, out=None, return_stats=False, weight_offset=0.0)"
    )


def test_everything_public_exists_and_is_documented():
    for name in fastln.__all__:
        assert getattr(fastln, name).__doc__
    assert re.fullmatch(r"\d+\.\d+\.\d+", fastln.__version__)


def test_examples_in_docstrings():
    for module in (fastln, _core):
        assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    for function in (*OPERATIONS, fastln.num_threads):
        for test in finder.find(function, globs={}):
            runner.run(test)
    assert runner.tries > 0
    assert runner.failures == 0


def test_keywords_only_after_eps():
    with pytest.raises(TypeError):
        fastln.layer_norm([1.0, 2.0], None, None, 1e-5, -1)
    with pytest.raises(TypeError):
        fastln.rms_norm([1.0, 2.0], None, 1e-5, -1)


# --- Values, dtypes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_layer_norm_is_the_formula(rng, dtype, with_weight, with_bias):
    x = (rng.normal(size=(5, 37)) * 3 + 1).astype(dtype)
    compute = np.float64 if dtype == np.float64 else np.float32
    weight = rng.normal(size=37).astype(compute) if with_weight else None
    bias = rng.normal(size=37).astype(compute) if with_bias else None
    y = fastln.layer_norm(x, weight, bias, 1e-3)
    assert y.dtype == dtype
    assert type(y) is np.ndarray
    assert_close(y, formula(x, weight, bias, 1e-3))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("with_weight", [False, True])
def test_rms_norm_is_the_formula(rng, dtype, with_weight):
    x = (rng.normal(size=(5, 37)) * 3 + 1).astype(dtype)
    weight = rng.normal(size=37).astype(np.float32) if with_weight else None
    y = fastln.rms_norm(x, weight)
    assert y.dtype == dtype
    assert_close(y, rms_formula(x, weight))


def test_without_subtracting_the_mean(rng):
    x = rng.normal(size=(4, 30)) + 5
    assert_close(fastln.layer_norm(x, subtract_mean=False), formula(x, subtract_mean=False))


def test_default_epsilons():
    x = np.full((1, 4), 1e-3)
    x[0, 0] = -1e-3
    assert_close(fastln.layer_norm(x), formula(x, eps=1e-5))
    assert_close(fastln.rms_norm(x), rms_formula(x, eps=1e-6))


@pytest.mark.parametrize("eps", [1, np.float32(0.5), np.array(0.5), True, np.int8(2)])
def test_eps_is_any_real_number(eps):
    x = np.arange(6.0)
    assert_close(fastln.layer_norm(x, eps=eps), formula(x, eps=float(eps)))


@pytest.mark.parametrize("dtype", [np.bool_, *np.typecodes["AllInteger"]])
def test_bool_and_integers_become_float64(dtype):
    x = np.array([[0, 1, 1, 0, 1], [1, 0, 0, 0, 1]], dtype)
    y = fastln.layer_norm(x)
    assert y.dtype == np.float64
    assert_close(y, formula(x))


@pytest.mark.parametrize(
    "x",
    [
        [[1.0, 2.0, 4.0]],
        ((1, 2, 4),),
        range(5),
        [True, False],
        memoryview(np.arange(4.0)),
        np.arange(3.0).view(np.recarray),
    ],
)
def test_array_likes(x):
    y = fastln.layer_norm(x)
    assert type(y) is np.ndarray
    assert_close(y, formula(np.asarray(x)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("factor_dtype", FLOATS)
def test_weight_and_bias_of_any_float_dtype(rng, dtype, factor_dtype):
    x = rng.normal(size=(3, 20)).astype(dtype)
    weight, bias = rng.normal(size=(2, 20)).astype(factor_dtype)
    assert_close(fastln.layer_norm(x, weight, bias), formula(x, weight, bias))
    assert_close(fastln.rms_norm(x, weight), rms_formula(x, weight))


@pytest.mark.parametrize("spoil", ["strided", "swapped", "misaligned", "list", "integers", "subclass"])
def test_weight_and_bias_in_any_form(rng, spoil):
    x = rng.normal(size=(3, 4)).astype(np.float32)
    weight = np.array([1, -2, 3, 5], np.float32)
    odd = {
        "strided": np.repeat(weight, 2)[::2],
        "swapped": weight.astype(">f4" if np.little_endian else "<f4"),
        "misaligned": misaligned(weight),
        "list": weight.tolist(),
        "integers": weight.astype(np.int64),
        "subclass": weight.view(np.recarray),
    }[spoil]
    np.testing.assert_array_equal(fastln.layer_norm(x, odd, odd), fastln.layer_norm(x, weight, weight))


def misaligned(a):
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    view = np.ndarray(a.shape, a.dtype, buffer.data, offset=1)
    view[...] = a
    assert not view.flags.aligned
    return view


def test_weight_offset(rng):
    x = rng.normal(size=(3, 20)).astype(np.float32)
    weight = rng.normal(size=20).astype(ml_dtypes.bfloat16)
    expected = fastln.rms_norm(x, (weight.astype(np.float64) + 1).astype(np.float32))
    np.testing.assert_array_equal(fastln.rms_norm(x, weight, weight_offset=1.0), expected)
    np.testing.assert_array_equal(fastln.rms_norm(x, weight, weight_offset=1), expected)


def test_weight_offset_is_rounded_once():
    x = np.ones((1, 2), np.float32)
    weight = np.float32([2.0**-24 + 2.0**-40, 0])  # 1 + weight is just over half way to the next float32
    y = fastln.rms_norm(x, weight, eps=0, weight_offset=1.0)
    np.testing.assert_array_equal(y, np.float32([[1 + 2.0**-23, 1]]))


def test_bfloat16_needs_no_import_of_ours():
    code = "import sys, fastln; assert 'ml_dtypes' not in sys.modules; print('ok')"
    assert python(code) == "ok"


# --- Axes and layouts ------------------------------------------------------------------------------------------------

SHAPE = (3, 5, 4, 6)
AXES = [axes for n in range(1, 5) for axes in itertools.combinations(range(4), n)]


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_set_of_axes(rng, axes, dtype):
    x = rng.normal(size=SHAPE).astype(dtype)
    weight, bias = rng.normal(size=(2, *(SHAPE[a] for a in axes))).astype(np.float32)
    y, mean, rstd = fastln.layer_norm(x, weight, bias, axis=axes, return_stats=True)
    assert y.shape == SHAPE
    assert_close(y, formula(x, weight, bias, axis=axes))
    wide = x.astype(np.float64)
    assert mean.dtype == rstd.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(mean, wide.mean(axes), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(wide.var(axes) + 1e-5), rtol=1e-5)
    np.testing.assert_array_equal(fastln.rms_norm(x, weight, axis=axes, return_stats=True)[0].shape, SHAPE)


@pytest.mark.parametrize("axis", [(1, 2), (2, 1), [-2, 1], (-3, np.int64(-2))], ids=str)
def test_order_and_sign_of_axes_mean_nothing(rng, axis):
    x = rng.normal(size=SHAPE)
    weight = rng.normal(size=SHAPE[1:3])
    np.testing.assert_array_equal(fastln.layer_norm(x, weight, axis=axis), fastln.layer_norm(x, weight, axis=(1, 2)))


@pytest.mark.parametrize("axis", [1, -1, (1,), [-1], np.int8(1), np.array(1)], ids=repr)
def test_forms_of_one_axis(rng, axis):
    x = rng.normal(size=(4, 7))
    np.testing.assert_array_equal(fastln.layer_norm(x, axis=axis), fastln.layer_norm(x))


def inside(a):
    """A view of a's shape in the middle of a larger array."""
    return np.zeros([n + 2 for n in a.shape], a.dtype)[tuple(slice(1, n + 1) for n in a.shape)]


LAYOUTS = {
    "C": lambda a: np.zeros(a.shape, a.dtype),
    "F": lambda a: np.zeros(a.shape, a.dtype, order="F"),
    "inside": inside,
    "every second": lambda a: np.zeros([2 * n for n in a.shape], a.dtype)[(slice(None, None, 2),) * a.ndim],
    "reversed": lambda a: np.zeros(a.shape, a.dtype)[(slice(None, None, -1),) * a.ndim],
    "first axis reversed": lambda a: np.zeros(a.shape, a.dtype)[::-1],
    "axes swapped": lambda a: np.zeros(a.shape[::-1], a.dtype).T,
    "channels last": lambda a: np.moveaxis(np.zeros((a.shape[0], *a.shape[2:], a.shape[1]), a.dtype), -1, 1),
    "batch inside": lambda a: np.moveaxis(np.zeros((*a.shape[1:], a.shape[0]), a.dtype), -1, 0),
    "bytes swapped": lambda a: np.zeros(a.shape, a.dtype.newbyteorder()),
    "misaligned": misaligned,
}


WRITABLE = [layout for layout in LAYOUTS if layout != "bytes swapped"]  # not the dtype of the result


def laid_out(layout, a):
    """The values of a in another place."""
    view = LAYOUTS[layout](a)
    view[...] = a
    return view


SMALL = (np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) ** 2 % 23).astype(np.float32)


@pytest.mark.parametrize("axes", [(-1,), (1,), (0,), (1, 2, 3), (2, 3), (0, 2), (0, 1, 2, 3)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_x(layout, axes):
    view = laid_out(layout, SMALL)
    y, mean, rstd = fastln.layer_norm(view, axis=axes, return_stats=True)
    assert y.dtype == np.float32
    assert y.flags.owndata
    assert_close(y, formula(SMALL, axis=axes))
    assert_close(mean, SMALL.astype(np.float64).mean(axes))
    assert_close(rstd, 1 / np.sqrt(SMALL.astype(np.float64).var(axes) + 1e-5))
    np.testing.assert_array_equal(view, SMALL)


@pytest.mark.parametrize("axes", [(-1,), (1,), (1, 2, 3), (0, 2)], ids=str)
@pytest.mark.parametrize("layout", WRITABLE)
@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_of_out(layout, axes, order):
    x = np.array(SMALL, order=order)
    out = laid_out(layout, SMALL)
    y = fastln.layer_norm(x, axis=axes, out=out)
    assert y is out
    assert_close(y.astype(np.float32), formula(SMALL, axis=axes))
    np.testing.assert_array_equal(y, fastln.layer_norm(x, axis=axes))  # where it goes is not what it becomes
    np.testing.assert_array_equal(x, SMALL)
    if out.base is not None:
        out[...] = 0
        assert not np.any(out.base)  # nothing was written beside it


@pytest.mark.parametrize("axes", [(-1,), (1,), (0, 2)], ids=str)
@pytest.mark.parametrize("layout", WRITABLE)
def test_in_place(layout, axes):
    x = laid_out(layout, SMALL)
    expected = fastln.layer_norm(x, axis=axes)
    assert fastln.layer_norm(x, axis=axes, out=x) is x
    np.testing.assert_array_equal(x, expected)


def test_result_lies_as_x_does(rng):
    x = rng.normal(size=(6, 4, 5))
    assert fastln.layer_norm(x, axis=1).flags.c_contiguous
    assert fastln.layer_norm(x.T, axis=0).flags.f_contiguous
    assert fastln.layer_norm(np.asfortranarray(x)).flags.f_contiguous
    assert fastln.layer_norm(x.transpose(1, 0, 2)).transpose(1, 0, 2).flags.c_contiguous
    assert fastln.layer_norm(x[:, ::-1]).flags.c_contiguous


def test_broadcast_and_sliding_windows(rng):
    row = rng.normal(size=9)
    for x in (
        np.broadcast_to(row, (4, 9)),
        np.broadcast_to(row[:, None], (9, 4)),
        np.broadcast_to(row[3], (2, 3)),
        np.lib.stride_tricks.sliding_window_view(row, 4),
        np.lib.stride_tricks.sliding_window_view(row, 4).T,
    ):
        for axis in (0, 1, (0, 1)):
            y, mean, rstd = fastln.layer_norm(x, axis=axis, return_stats=True)
            assert_close(y, formula(x, axis=axis))
            assert_close(mean, x.mean(axis))
            assert_close(rstd, 1 / np.sqrt(x.var(axis) + 1e-5))


def test_many_dimensions(rng):
    x = rng.normal(size=(1, 2) * 8 + (1,) * 14 + (2, 3)).astype(np.float32)
    assert x.ndim == 32
    for axis in (-1, (3, 5), tuple(range(32)), 1, (-2, -1)):
        assert_close(fastln.layer_norm(x, axis=axis), formula(x, axis=axis))


def test_length_one_gives_bias(rng):
    x = rng.normal(size=(5, 1))
    np.testing.assert_array_equal(fastln.layer_norm(x, [3.0], [7.0]), np.full((5, 1), 7.0))
    np.testing.assert_array_equal(fastln.layer_norm(x.T, np.ones(1), np.full(1, 7.0), axis=0), np.full((1, 5), 7.0))


# --- Empty arrays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.int32])
@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0,), (2, 0, 3), (0, 0)])
def test_empty(operation, dtype, shape):
    x = np.empty(shape, dtype)
    result = np.float64 if dtype == np.int32 else dtype
    for axis in range(len(shape)):
        y, *stats = operation(x, np.ones(shape[axis]), axis=axis, return_stats=True)
        assert y.shape == shape
        assert y.dtype == result
        for stat in stats:
            assert stat.shape == shape[:axis] + shape[axis + 1 :]
            assert np.isnan(stat).all()
    out = np.empty(shape, result)
    assert operation(x, out=out) is out


# --- out -------------------------------------------------------------------------------------------------------------


def test_out_is_returned(rng):
    x = rng.normal(size=(4, 8))
    for out in (np.empty((4, 8)), x, np.empty((4, 8)).view(np.recarray), np.empty((4, 16))[:, ::2]):
        assert fastln.layer_norm(x, out=out) is out
        assert fastln.rms_norm(x, out=out, return_stats=True)[0] is out


def test_out_on_disk(tmp_path, rng):
    x = rng.normal(size=(4, 8))
    out = np.memmap(tmp_path / "out", np.float64, "w+", shape=(4, 8))
    assert fastln.layer_norm(x, out=out) is out
    assert_close(out, formula(x))
    del out


@pytest.mark.parametrize("shift", range(-9, 10))
@pytest.mark.parametrize("axis", [0, 1])
def test_out_that_overlaps_x(rng, shift, axis):
    memory = rng.normal(size=100)
    x, out = memory[20:60].reshape(5, 8), memory[20 + shift : 60 + shift].reshape(5, 8)
    expected = fastln.layer_norm(x, axis=axis)
    np.testing.assert_array_equal(fastln.layer_norm(x, axis=axis, out=out), expected)


def test_out_that_is_another_view_of_x(rng):
    for other in (lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::-1]):
        x = rng.normal(size=(6, 6))
        expected = fastln.layer_norm(x)
        np.testing.assert_array_equal(fastln.layer_norm(x, out=other(x)), expected)


def test_out_over_integers():
    x = np.array([[1, 2, 3], [4, 4, 8]])
    expected = fastln.layer_norm(x)
    np.testing.assert_array_equal(fastln.layer_norm(x, out=x.view(np.float64)), expected)


@pytest.mark.parametrize("shift", [-3, 0, 2, 8])
def test_out_that_overlaps_weight_or_bias(rng, shift):
    x = rng.normal(size=(2, 8))
    memory = rng.normal(size=40)
    out, vector = memory[10:26].reshape(2, 8), memory[10 + shift : 18 + shift]
    expected = formula(x, vector.copy(), vector.copy())
    assert_close(fastln.layer_norm(x, vector, vector, out=out), expected)


def test_out_interleaved_with_x(rng):
    memory = rng.normal(size=(5, 2, 8))
    x, out = memory[:, 0], memory[:, 1]
    expected = fastln.layer_norm(x.copy())
    np.testing.assert_array_equal(fastln.layer_norm(x, out=out), expected)


# --- Statistics ------------------------------------------------------------------------------------------------------


def test_stats_of_a_vector():
    _, mean, rstd = fastln.layer_norm([1.0, 3.0], eps=0, return_stats=True)
    assert mean.shape == rstd.shape == ()
    assert (mean, rstd) == (2, 1)
    _, rstd = fastln.rms_norm([3.0, -3.0], eps=0, return_stats=True)
    assert rstd == 1 / 3


def test_stats_do_not_change_y(rng):
    x = rng.normal(size=(3, 4, 5)).astype(np.float32)
    for axis in (1, 2, (0, 2)):
        for operation in OPERATIONS:
            np.testing.assert_array_equal(operation(x, axis=axis), operation(x, axis=axis, return_stats=True)[0])


# --- Memory ----------------------------------------------------------------------------------------------------------


def test_no_array_is_kept_alive():
    x, weight, out = np.ones((3, 4)), np.ones(4), np.ones((3, 4))
    gc.collect()
    before = [sys.getrefcount(a) for a in (x, weight, out)]
    for _ in range(10):
        fastln.layer_norm(x, weight, weight, out=out)
        fastln.layer_norm(x, weight.tolist(), weight[::-1], return_stats=True)
        fastln.layer_norm(x.T, weight[:3], out=out.T)
        fastln.rms_norm(x, weight, weight_offset=1.0, out=x)
        for bad in ({"eps": -1}, {"axis": 7}, {"bias": weight[:2]}, {"out": x[:2]}):
            with pytest.raises(Exception, match=r"^(eps|axis|bias|out)"):
                fastln.layer_norm(x, weight, **bad)
    del bad
    assert [sys.getrefcount(a) for a in (x, weight, out)] == before


# --- Configuration ---------------------------------------------------------------------------------------------------


def test_show_config(capsys):
    config = fastln.show_config("dicts")
    assert config["Build"]["version"] == fastln.__version__
    assert config["SIMD"]["active"] in config["SIMD"]["compiled"]
    assert config["SIMD"]["active"] in config["SIMD"]["supported"]
    assert "scalar" in config["SIMD"]["compiled"]
    assert config["Threads"]["number"] == fastln.get_num_threads()
    assert capsys.readouterr().out == ""
    assert fastln.show_config() is None
    printed = capsys.readouterr().out
    assert fastln.__version__ in printed
    assert config["SIMD"]["active"] in printed
    with pytest.raises(ValueError, match="mode: expected 'stdout' or 'dicts', got 'json'"):
        fastln.show_config("json")


def test_num_threads_restores_and_nests():
    before = fastln.get_num_threads()
    one = fastln.num_threads(1)
    with one:
        assert fastln.get_num_threads() == 1
        with fastln.num_threads(3), one:
            assert fastln.get_num_threads() == 1
        assert fastln.get_num_threads() == 1
        with pytest.raises(KeyError), fastln.num_threads(2):
            raise KeyError
        assert fastln.get_num_threads() == 1
    assert fastln.get_num_threads() == before


@pytest.mark.parametrize("function", [fastln.set_num_threads, fastln.num_threads])
def test_num_threads_arguments(function):
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"n: expected at least 1 thread, got {n}"):
            function(n)
    for n in (1.0, "2", None):
        with pytest.raises(TypeError, match="n: expected an int, got"):
            function(n)


# --- Import ----------------------------------------------------------------------------------------------------------


def test_import_is_quick_and_quiet():
    code = """
import os, sys, time, warnings
warnings.simplefilter("error")
import numpy
def threads():
    return len(os.listdir("/proc/self/task")) if sys.platform.startswith("linux") else 1
threads_before, modules_before, start = threads(), set(sys.modules), time.process_time()
import fastln
assert time.process_time() - start < 0.03
assert threads() == threads_before
print(*{name.partition(".")[0] for name in set(sys.modules) - modules_before})
"""
    others = {name for name in python(code).split() if not name.startswith(("cython_runtime", "_cython_"))}
    assert others - set(sys.stdlib_module_names) == {"fastln"}


def test_subnormals_survive_import():
    code = "import fastln, numpy as np; print(5e-324 * 1 != 0, np.float32(1e-45) * np.float32(1) != 0)"
    assert python(code) == "True True"


def test_import_from_the_source_folder_says_so(tmp_path):
    shutil.copytree(
        Path(fastln.__file__).parent, tmp_path / "fastln", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    )
    code = """
try:
    import fastln
except ImportError as error:
    print(error)
"""
    assert "pip install" in python(code, cwd=tmp_path)
