"""fastln.kernels: from Python, and from a Cython module that knows nothing but the installed package."""

import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastln
import vectors
from fastln import _cases, kernels
from processes import python

BITS = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}
DTYPES = {"f32": np.float32, "f64": np.float64, **BITS}


def data(dtype, rows=5, n=37):
    rng = np.random.default_rng(1)
    compute = np.float64 if dtype == np.float64 else np.float32
    weight, bias = rng.normal(size=(2, n)).astype(compute)
    return rng.normal(size=(rows, n)).astype(dtype), weight, bias


def bits(a):
    return a.view(np.uint16) if a.itemsize == 2 else a


def call(name, dtype_name, x, weight, bias, eps, out):
    affine = (weight, bias) if name == "layer_norm" else (weight,)
    return getattr(kernels, f"{name}_{dtype_name}")(bits(x), *affine, eps, bits(out))


def listed(name):
    """One of the lists of fastln.h, which everything is driven by."""
    header = (Path(__file__).parent.parent / "src" / "fastln.h").read_text()
    return re.findall(r"X\((\w+)\)", re.search(rf"#define FASTLN_FOR_EACH_{name}\(X\)(.*)", header)[1])


def test_there_is_one_per_operation_and_dtype():
    names = {name for name in dir(kernels) if re.search(r"_b?f\d+$", name)}
    assert names == {f"{operation}_{dtype}" for operation in listed("OPERATION") for dtype in listed("DTYPE")}


def test_the_tests_follow_the_same_lists():
    """An operation, dtype or instruction set that is compiled can't escape its tests."""
    assert listed("OPERATION") == vectors.OPERATIONS
    assert set(_cases.OPERATIONS) <= set(vectors.OPERATIONS)  # `normalize` is not measured on its own
    assert set(_cases.DTYPES) == {fmt.name for fmt in vectors.FORMATS}
    assert listed("DTYPE") == [fmt.name.replace("float", "f") for fmt in vectors.FORMATS] == list(DTYPES)
    assert listed("ISA") == [name for name, *_ in fastln._core._isas()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_weight", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_same_bits_as_the_public_functions(dtype, with_weight, with_bias):
    x, weight, bias = data(DTYPES[dtype])
    weight, bias = weight if with_weight else None, bias if with_bias else None
    out = np.zeros_like(x)
    assert call("layer_norm", dtype, x, weight, bias, 1e-5, out) == 0
    np.testing.assert_array_equal(bits(out), bits(fastln.layer_norm(x, weight, bias)))
    assert call("rms_norm", dtype, x, weight, None, 1e-6, out) == 0
    np.testing.assert_array_equal(bits(out), bits(fastln.rms_norm(x, weight)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalize(dtype):
    """The bits of the public function, for each combination of what may be None."""
    x, weight, bias = data(DTYPES[dtype])
    mean, rstd = np.random.default_rng(2).uniform(-1, 1, (2, len(x)))
    function = getattr(kernels, f"normalize_{dtype}")
    for given in (mean, None):
        for w in (weight, None):
            for b in (bias, None):
                out = np.zeros_like(x)
                assert function(bits(x), given, rstd, w, b, bits(out)) == 0
                expected = fastln.normalize(x, given, rstd, w, b)
                np.testing.assert_array_equal(bits(out), bits(expected))
    function(bits(x), None, rstd, None, None, bits(x))
    np.testing.assert_array_equal(bits(x), bits(expected))
    assert function(bits(x[:0]), mean[:0], rstd[:0], weight, bias, bits(x[:0])) == 0
    assert function(bits(x[:, :0].copy()), mean, rstd, weight[:0], bias[:0], bits(x[:, :0].copy())) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalize_refuses(dtype):
    x, weight, bias = data(DTYPES[dtype])
    out, (mean, rstd) = np.full_like(x, 7), np.ones((2, len(x)))
    good = {"x": x, "mean": mean, "rstd": rstd, "weight": weight, "bias": bias, "out": out}
    cases = [
        ("x and out: expected arrays", {"x": None}),
        ("x and out: expected arrays", {"out": None}),
        ("rstd: expected an array, got None", {"rstd": None}),
        (r"mean: expected shape \(5,\), got \(4,\)", {"mean": mean[1:]}),
        (r"rstd: expected shape \(5,\), got \(4,\)", {"rstd": rstd[1:]}),
        ("mean and rstd: expected aligned arrays", {"mean": misaligned(mean)}),
        ("mean and rstd: expected aligned arrays", {"rstd": misaligned(rstd)}),
        ("out: expected shape", {"out": out[1:]}),
        ("weight: expected shape", {"weight": weight[1:]}),
        ("bias: expected shape", {"bias": bias[1:]}),
        ("x and out: expected aligned", {"x": misaligned(x)}),
        ("weight and bias: expected aligned", {"bias": misaligned(bias)}),
    ]
    function = getattr(kernels, f"normalize_{dtype}")
    for message, bad in cases:
        arguments = {k: bits(a) if k in ("x", "out") and a is not None else a for k, a in (good | bad).items()}
        with pytest.raises(ValueError, match=message):
            function(**arguments)
    with pytest.raises(ValueError, match="dtype mismatch"):
        function(bits(x), mean.astype(np.float32), rstd, weight, bias, bits(out))
    assert (out == 7).all()


def test_in_place():
    x, weight, bias = data(np.float32)
    expected = fastln.layer_norm(x, weight, bias)
    kernels.layer_norm_f32(x, weight, bias, 1e-5, x)
    np.testing.assert_array_equal(x, expected)


def test_read_only_inputs():
    x, weight, bias = data(np.float64)
    for a in (x, weight, bias):
        a.flags.writeable = False
    kernels.layer_norm_f64(x, weight, bias, 1e-5, np.zeros_like(x))


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_empty(shape):
    x = np.zeros(shape, np.float32)
    weight = np.zeros(shape[1], np.float32)
    assert kernels.layer_norm_f32(x, weight, weight, 1e-5, x) == 0
    assert kernels.rms_norm_f32(x, weight, 1e-5, x) == 0


def misaligned(a):
    view = np.ndarray(a.shape, a.dtype, np.zeros(a.nbytes + 1, np.uint8).data, offset=1)
    view[...] = a
    return view


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", ["layer_norm", "rms_norm"])
def test_refuses(operation, dtype):
    x, weight, bias = data(DTYPES[dtype])
    out = np.full_like(x, 7)
    good = {"x": x, "weight": weight, "bias": bias, "eps": 1e-5, "out": out}
    cases = [
        ("x and out: expected arrays", {"x": None}),
        ("x and out: expected arrays", {"out": None}),
        ("out: expected shape", {"x": x[1:]}),
        ("out: expected shape", {"x": x[:, 1:].copy()}),
        ("weight: expected shape", {"weight": weight[1:]}),
        ("eps: expected a finite number", {"eps": float("nan")}),
        ("eps: expected a finite number >= 0, got -1.0", {"eps": -1.0}),
        ("x and out: expected aligned", {"x": misaligned(x)}),
        ("x and out: expected aligned", {"out": misaligned(x)}),
        ("weight and bias: expected aligned", {"weight": misaligned(weight)}),
    ]
    if operation == "layer_norm":
        cases += [
            ("bias: expected shape", {"bias": bias[1:]}),
            ("weight and bias: expected aligned", {"bias": misaligned(bias)}),
        ]
    function = getattr(kernels, f"{operation}_{dtype}")
    for message, bad in cases:
        arguments = {k: bits(a) if k in ("x", "out") and a is not None else a for k, a in (good | bad).items()}
        if operation == "rms_norm":
            del arguments["bias"]
        with pytest.raises(ValueError, match=message):
            function(**arguments)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        call(operation, dtype, x, weight, bias, 1e-5, out)
    assert (out == 7).all()


def test_refuses_other_types_and_dimensions():
    x, weight, bias = data(np.float32)
    for bad in (x.astype(np.float64), x[0], x[None], x.T, x[:, ::2], x[:, 1:], x[::-1], x.tolist()):
        with pytest.raises((TypeError, ValueError)):
            kernels.layer_norm_f32(bad, weight, bias, 1e-5, x)


USER = """
# cython: language_level=3, boundscheck=False, freethreading_compatible=True
from fastln.kernels cimport layer_norm_f32, layer_norm_bf16, rms_norm_f64

def f32(const float[:, ::1] x, const float[::1] weight, const float[::1] bias, double eps, float[:, ::1] out):
    with nogil:
        layer_norm_f32(x, weight, bias, eps, out)

def f64(const double[:, ::1] x, const double[::1] weight, double eps, double[:, ::1] out):
    with nogil:
        rms_norm_f64(x, weight, eps, out)

def bf16(const unsigned short[:, ::1] x, double eps, unsigned short[:, ::1] out):
    cdef const float[::1] nothing = None
    with nogil:
        layer_norm_bf16(x, nothing, nothing, eps, out)
"""

SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup
setup(name="user", ext_modules=cythonize([Extension("user", ["user.pyx"])]))
"""

CHECK = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import user
import fastln
rng = np.random.default_rng(3)
x, (weight, bias) = rng.normal(size=(9, 50)), rng.normal(size=(2, 50))
out = np.empty_like(x)
user.f64(x, weight, 1e-6, out)
assert (out == fastln.rms_norm(x, weight)).all()
x, weight, bias, out = (a.astype(np.float32) for a in (x, weight, bias, out))
user.f32(x, weight, bias, 1e-5, out)
assert (out == fastln.layer_norm(x, weight, bias)).all()
user.bf16(x.view(np.uint16), 1e-5, out.view(np.uint16))
fastln._core._select_isa("scalar")  # the switch, like the number of threads, is one for all
user.f32(x, weight, None, 1e-5, out)
assert (out == fastln.layer_norm(x, weight)).all()
for bad in (-1.0, float("nan")):
    try:
        user.f32(x, None, None, bad, out)
    except ValueError as error:
        assert "eps" in str(error)
    else:
        raise AssertionError
print("ok")
"""


def test_cimport_without_the_gil(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    (tmp_path / "user.pyx").write_text(USER)
    (tmp_path / "setup.py").write_text(SETUP)
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert python(CHECK.format(folder=str(tmp_path))) == "ok"
