"""LayerNorm and RMSNorm: the functions with parameters of their own."""

import copy
import gc
import pickle
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastln
from vectors import FORMATS

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int32]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("given", [np.float32, np.float64, np.float16], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_the_bits_of_the_functions(rng, dtype, given):
    x = (rng.normal(size=(5, 40)) * 9).astype(dtype)
    weight, bias = rng.normal(size=(2, 40)).astype(given)
    for parameters in ((), (weight,), (None, bias), (weight, bias)):
        expected = fastln.layer_norm(x, *parameters, eps=1e-3)
        got = fastln.LayerNorm(*parameters, eps=1e-3)(x)
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes()
    for offset in (0.0, 1.0):
        expected = fastln.rms_norm(x, weight, 1e-4, weight_offset=offset)
        assert fastln.RMSNorm(weight, 1e-4, weight_offset=offset)(x).tobytes() == expected.tobytes()


@pytest.mark.parametrize("axis", [1, -3, (1, 2), [2, 1], (0, 3)], ids=str)
def test_axis(rng, axis):
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    axes = sorted(a % 4 for a in (axis if not isinstance(axis, int) else [axis]))
    weight, bias = rng.normal(size=(2, *(x.shape[a] for a in axes)))
    np.testing.assert_array_equal(
        fastln.LayerNorm(weight, bias, axis=axis)(x), fastln.layer_norm(x, weight, bias, axis=axis)
    )
    np.testing.assert_array_equal(fastln.RMSNorm(weight, axis=axis)(x), fastln.rms_norm(x, weight, axis=axis))


def test_out(rng):
    x = rng.normal(size=(3, 8))
    norm = fastln.LayerNorm(np.arange(8.0))
    expected = norm(x)
    for call in (
        lambda y: norm(x, y),
        lambda y: norm(x, out=y),
        lambda y: norm(out=y, x=x),
        lambda y: norm(x=x, out=y),
    ):
        y = np.empty_like(x)
        assert call(y) is y
        np.testing.assert_array_equal(y, expected)
    assert norm(x, None) is not x
    assert norm(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


class Subclass(np.ndarray):
    pass


def unaligned(a):
    return np.frombuffer(b"." + a.tobytes(), a.dtype, offset=1).reshape(a.shape)


X = {
    "rows": lambda a: a,
    "vector": lambda a: a[0],
    "batches": lambda a: a.reshape(2, 3, 8),
    "no rows": lambda a: a[:0],
    "no axis": lambda a: a[0, 0],
    "short rows": lambda a: a[:, :7].copy(),
    "no values": lambda a: a[:, :0].copy(),
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "columns": np.asfortranarray,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": unaligned,
    "subclass": lambda a: a.view(Subclass),
    "integers": lambda a: a.astype(np.int16),
    "complex numbers": lambda a: a.astype(np.complex64),
    "list": lambda a: a.tolist(),
}
OTHER_LENGTHS = ["short rows", "no values"]
OUT = {
    "new": lambda x: None,
    "empty": lambda x: np.empty(x.shape, x.dtype),
    "x": lambda x: x,
    "overlapping": None,
    "strided": lambda x: np.empty((*x.shape, 2), x.dtype)[..., 0],
    "columns": lambda x: np.empty(x.shape, x.dtype, order="F"),
    "subclass": lambda x: np.empty(x.shape, x.dtype).view(Subclass),
    "other dtype": lambda x: np.empty(x.shape, np.float16),
    "other shape": lambda x: np.empty((2, *x.shape), x.dtype),
    "longer rows": lambda x: np.empty((*x.shape[:-1], 9), x.dtype),
    "list": lambda x: [0.0],
}


@pytest.mark.parametrize("dtype", DTYPES[:4], ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("kind_of_out", OUT)
@pytest.mark.parametrize("kind", X)
def test_what_the_functions_do_with_any_x_and_out(rng, kind, kind_of_out, dtype):
    values = (rng.normal(size=(6, 8)) * 9).astype(dtype)
    weight, bias = rng.normal(size=(2, 8))

    def outcome(function, *given):
        memory = np.append(values[0, 0], values)
        x = X[kind](memory[1:].reshape(6, 8))
        out = memory[:-1].reshape(6, 8) if kind_of_out == "overlapping" else OUT[kind_of_out](np.asarray(x))
        try:
            y = function(x, *given, out=out)
        except (TypeError, ValueError) as error:
            said = "" if kind in OTHER_LENGTHS else str(error)  # there x is wrong, or weight is
            return type(error), said, memory.tobytes()
        assert y is out or out is None
        return type(y), y.dtype, y.shape, y.tobytes(), memory.tobytes()

    assert outcome(fastln.LayerNorm(weight, bias)) == outcome(fastln.layer_norm, weight, bias)
    assert outcome(fastln.LayerNorm()) == outcome(fastln.layer_norm)
    assert outcome(fastln.RMSNorm(weight)) == outcome(fastln.rms_norm, weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_large_arrays(rng, dtype):
    x = rng.normal(size=(700, 1000)).astype(dtype)  # long enough for threads, and to give up the GIL
    weight, bias = rng.normal(size=(2, 1000))
    expected = fastln.layer_norm(x, weight, bias)
    np.testing.assert_array_equal(fastln.LayerNorm(weight, bias)(x, out=x), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("first", [(1 << 60) + (1 << 36) + 1, -0.0])  # above the middle of two float32, but for float64
def test_parameters_that_conversions_may_change(dtype, first):
    x = np.array([[1, 2]], dtype)
    weight = np.array([first, 3])
    for prepared, direct in (
        (fastln.RMSNorm(weight), fastln.rms_norm(x, weight)),
        (fastln.LayerNorm(weight, weight), fastln.layer_norm(x, weight, weight)),
    ):
        for norm in (prepared, copy.copy(prepared), pickle.loads(pickle.dumps(prepared))):
            assert norm(x).tobytes() == direct.tobytes()


def test_parameters_stay(rng):
    norm = fastln.LayerNorm(np.ones(4096), np.ones(4096))
    x = rng.normal(size=(3, 4096))
    expected = norm(x)
    for other in ((np.ones(2), np.ones(2)), (np.ones(2), np.ones(3)), (np.ones(2), "x")):
        with pytest.raises(TypeError, match="a LayerNorm keeps its parameters"):
            norm.__init__(*other)
    np.testing.assert_array_equal(norm(x), expected)


def test_an_object_without_init(rng):
    x = rng.normal(size=(3, 8))
    norm = fastln.LayerNorm.__new__(fastln.LayerNorm)
    assert norm.weight is None
    assert norm.bias is None
    assert norm.eps == 0
    with pytest.raises(TypeError, match="axis: expected an int or a tuple of ints, got None"):
        norm(x)


def test_the_parameters_cannot_be_resized():
    norm = fastln.LayerNorm(np.ones(4096), np.ones(4096))
    for parameter in (norm.weight, norm.bias):
        while isinstance(parameter, np.ndarray):  # the memory belongs to what comes last
            with pytest.raises(ValueError, match="resize"):
                parameter.resize(2, refcheck=False)
            with pytest.raises(ValueError, match="WRITEABLE"):
                parameter.flags.writeable = True
            parameter = parameter.base
        assert isinstance(parameter, bytes)  # and not what the object itself uses
    assert isinstance(norm.weight.base, bytes)
    assert isinstance(norm.bias.base, bytes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since NumPy 2.5
        norm.weight.shape = (64, 64)
    assert norm.weight.shape == norm.bias.shape == (4096,)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_empty_parameters(shape):
    norm = fastln.LayerNorm(np.ones(shape), np.ones(shape), axis=tuple(range(1, len(shape) + 1)))
    assert norm.weight.shape == shape
    assert norm(np.ones((3, *shape))).shape == (3, *shape)


def test_read_only_out(rng):
    x = rng.normal(size=(6, 8))
    out = np.zeros_like(x)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writeable array"):
        fastln.LayerNorm()(x, out)
    assert not out.any()


def test_names_of_arguments_that_are_equal_but_not_identical(rng):
    x = rng.normal(size=(3, 8))
    name = "".join(["o", "u", "t"])
    assert name is not sys.intern("out")
    assert fastln.LayerNorm()(x, **{name: x}) is x


def test_parameters_are_copies(rng):
    weight = rng.normal(size=8)
    norm = fastln.LayerNorm(weight)
    x = rng.normal(size=(3, 8))
    expected = norm(x)
    weight[:] = 0
    np.testing.assert_array_equal(norm(x), expected)
    with pytest.raises(ValueError, match="read-only"):
        norm.weight[0] = 1
    with pytest.raises(AttributeError):
        norm.eps = 1


def test_attributes_of_layers_by_channel_are_set_once():
    """Or BatchNorm would go on with the variance that it was made with."""
    for norm in (fastln.GroupNorm(2, np.ones(4), np.ones(4)), fastln.BatchNorm(np.zeros(4), np.ones(4))):
        for name in ("weight", "bias", "eps"):
            with pytest.raises(AttributeError):
                setattr(norm, name, getattr(norm, name))
            with pytest.raises(AttributeError):
                delattr(norm, name)
        with pytest.raises(AttributeError):
            norm.epsilon = 1e-6
        x = np.arange(8.0).reshape(2, 4)
        before = norm(x)
        for name in ("mean", "var", "weight", "bias"):
            parameter = getattr(norm, name, None)
            if parameter is None:
                continue
            with pytest.raises(ValueError, match="WRITEABLE"):
                parameter.flags.writeable = True
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # since NumPy 2.5
                parameter.shape = (2, 2)
        np.testing.assert_array_equal(norm(x), before)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_layers_by_channel_and_functions_are_the_same(rng, fmt):
    x = fmt.cast(rng.normal(size=(3, 6, 5)))
    weight, bias, mean = rng.normal(size=(3, 6))
    var = rng.uniform(1, 2, 6)
    group, batch = fastln.GroupNorm(2, weight, bias), fastln.BatchNorm(mean, var, weight, bias)
    np.testing.assert_array_equal(group(x), fastln.group_norm(x, 2, weight, bias))
    np.testing.assert_array_equal(batch(x), fastln.batch_norm(x, mean, var, weight, bias))


def test_attributes():
    norm = fastln.LayerNorm([1.0, 2.0], [3.0, 4.0], 0.5, axis=(0,))
    assert norm.weight.tolist() == [1.0, 2.0]
    assert norm.bias.tolist() == [3.0, 4.0]
    assert (norm.eps, norm.axis) == (0.5, (0,))
    assert repr(norm) == "<LayerNorm: weight of shape (2,), bias of shape (2,), eps=0.5, axis=(0,)>"
    assert fastln.LayerNorm().weight is None
    assert fastln.LayerNorm().bias is None
    assert fastln.RMSNorm([1.0], weight_offset=1.0).weight.tolist() == [2.0]
    assert repr(fastln.RMSNorm()) == "<RMSNorm: eps=1e-06, axis=-1>"


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        (("weight", "bias"), ""),
        (("gamma", "beta"), ""),
        (("encoder.0.norm.weight", "encoder.0.norm.bias"), "encoder.0.norm"),
        (("encoder.0.norm.gamma", "encoder.0.norm.beta"), "encoder.0.norm."),
        (("ln_weight", "ln_bias"), "ln_"),
    ],
    ids=str,
)
def test_from_mapping(rng, keys, prefix):
    x, weight, bias = rng.normal(size=(3, 6))
    state = {keys[0]: weight, keys[1]: bias, "other.weight": np.zeros(3)}
    np.testing.assert_array_equal(
        fastln.LayerNorm.from_mapping(state, prefix, 1e-3)(x), fastln.layer_norm(x, weight, bias, 1e-3)
    )
    np.testing.assert_array_equal(
        fastln.RMSNorm.from_mapping(state, prefix, 1e-3, weight_offset=1.0)(x),
        fastln.rms_norm(x, weight, 1e-3, weight_offset=1.0),
    )
    del state[keys[1]]
    assert fastln.LayerNorm.from_mapping(state, prefix).bias is None
    for cls in (fastln.LayerNorm, fastln.RMSNorm):
        with pytest.raises(KeyError, match="expected a key for the weight after it, one of weight, gamma"):
            cls.from_mapping(state, "missing")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(rng, protocol):
    x, weight, bias = rng.normal(size=(3, 6))
    for norm in (fastln.LayerNorm(weight, bias, 1e-3, axis=(-1,)), fastln.RMSNorm(weight, weight_offset=1.0)):
        again = pickle.loads(pickle.dumps(norm, protocol))
        assert repr(again) == repr(norm)
        np.testing.assert_array_equal(again(x), norm(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastln.LayerNorm(eps=-1.0), ValueError, "eps: expected a finite number >= 0, got -1.0"),
        (lambda: fastln.LayerNorm(eps="x"), TypeError, "eps: expected a real number, got str"),
        (lambda: fastln.LayerNorm([1j]), TypeError, "weight: expected float16, .*got complex128"),
        (lambda: fastln.LayerNorm(None, ["a"]), TypeError, "bias: expected float16"),
        (lambda: fastln.LayerNorm(1.0), ValueError, "weight: expected the shape of the normalized axes, got a number"),
        (
            lambda: fastln.LayerNorm([1.0, 2.0], [1.0]),
            ValueError,
            r"bias: expected shape \(2,\), as weight, got \(1,\)",
        ),
        (lambda: fastln.LayerNorm(axis=()), ValueError, "axis: expected at least one axis"),
        (lambda: fastln.LayerNorm(axis="x"), TypeError, "axis: expected an int or a tuple of ints"),
        (lambda: fastln.RMSNorm(weight_offset=1.0), ValueError, "weight_offset: expected 0.0 without a weight"),
        (
            lambda: fastln.RMSNorm([1.0], weight_offset=np.inf),
            ValueError,
            "weight_offset: expected a finite number, got inf",
        ),
        (
            lambda: fastln.LayerNorm([1.0])([1.0, 2.0]),
            ValueError,
            r"x: expected normalized axes of shape \(1,\), got \(2,\)",
        ),
        (lambda: fastln.LayerNorm()(), TypeError, "argument"),
        (lambda: fastln.LayerNorm()([1.0], None, 3), TypeError, "argument"),
        (lambda: fastln.LayerNorm()([1.0], y=3), TypeError, "argument"),
        (lambda: fastln.LayerNorm()([1.0], x=3), TypeError, "argument"),
        (lambda: fastln.LayerNorm()([1.0], out=3), TypeError, "out: expected a NumPy array, got int"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_calls_leave_no_references(rng):
    x = rng.normal(size=(3, 8))
    out = np.empty_like(x)
    norm = fastln.LayerNorm(np.ones(8), np.zeros(8))
    gc.collect()
    before = [sys.getrefcount(a) for a in (x, out, norm, norm.weight)]
    for _ in range(1000):
        norm(x, out)
        norm(x, out=out)
        norm(x=x)
        with pytest.raises(TypeError):
            norm(x, y=out)
    assert [sys.getrefcount(a) for a in (x, out, norm, norm.weight)] == before


def test_the_readme_shows_them():
    assert "fastln.LayerNorm" in (Path(__file__).parent.parent / "README.md").read_text()


def test_x_is_what_does_not_fit():
    norm = fastln.LayerNorm(np.ones(768), np.ones(768))
    with pytest.raises(ValueError, match=r"x: expected normalized axes of shape \(768,\), got \(5,\)"):
        norm(np.ones((2, 5), np.float32))
    with pytest.raises(ValueError, match=r"x: expected normalized axes of shape \(3,\), got \(4,\)"):
        fastln.LayerNorm(bias=[1.0, 2.0, 3.0])(np.ones((2, 4)))
    with pytest.raises(ValueError, match="out: expected shape"):
        norm(np.ones((2, 768)), out=np.ones((3, 768)))
    with pytest.raises(ValueError, match="axis 3 is out of bounds") as raised:
        fastln.LayerNorm(np.ones(4), axis=3)(np.ones((2, 4)))
    assert raised.value.__context__ is None  # it is said once


def test_parameters_for_float64_alone():
    """What float32 cannot hold of them is no error of the caller's."""
    large, tiny = np.full(4, 1e200), np.full(4, 1e-50)
    with np.errstate(all="raise"):
        fastln.LayerNorm(large, tiny)
        fastln.RMSNorm(tiny)
        fastln.GroupNorm(2, large, tiny)
        norm = fastln.BatchNorm(tiny, tiny, large, tiny, eps=0.0)
    expected = (np.eye(4) - tiny) / np.sqrt(tiny) * large + tiny
    np.testing.assert_allclose(norm(np.eye(4)), expected, rtol=1e-14)


def test_a_weight_beyond_float32():
    """It is for float64; nobody is warned of what is not used."""
    x = np.array([[1.0, 3.0]])
    assert fastln.LayerNorm([1e300, 1.0], eps=0.0)(x).tolist() == [[-1e300, 1.0]]
