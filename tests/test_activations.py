"""tanh, sigmoid and relu of the recurrent cells: within 2 ulp, and the same bits on every instruction set."""

import platform
import shutil
import subprocess

import mpmath
import numpy as np
import pytest

import isas
from flags import SETUP
from test_vec import CROSS_COMPILER, EMULATOR, HERE, compile_vec

pytestmark = [
    pytest.mark.skipif(platform.system() == "Windows", reason="needs a Unix compiler"),
    pytest.mark.skipif(not SETUP.is_file(), reason="needs the sources of the kernels"),
]

PROGRAM = HERE / "c" / "activations.c"
COUNT = 1500
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 20.0, -20.0, -103.9, -104.5, -744.5, -745.5, 88.8, 709.9]
EXACT = {"tanh": mpmath.tanh, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "relu": lambda x: max(x, mpmath.mpf(0))}


def values(dtype):
    """Any bits, moderate numbers, and such where the reduction of the argument changes its integer."""
    rng = np.random.default_rng(1)
    bits = np.dtype(dtype).itemsize * 8
    anything = rng.integers(0, 2**bits, COUNT, np.dtype(f"u{bits // 8}")).view(dtype)
    steps = (
        rng.integers(-60, 61, COUNT) * np.log(2) / 4 * (1 + rng.uniform(-1, 1, COUNT) * 10.0 ** -rng.integers(0, 17))
    )
    deep = -rng.uniform(80, 105, COUNT) if bits == 32 else -rng.uniform(700, 746, COUNT)
    tiny = np.exp(rng.uniform(-800, 0, COUNT)) * rng.choice([-1, 1], COUNT)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.concatenate([SPECIAL, rng.normal(size=COUNT) * 5, steps, deep, tiny, anything]).astype(dtype)


def compile_program(isa, folder):
    """The command that runs it."""
    if isa != "neon" or platform.machine() == "aarch64":
        return [compile_vec("gcc", isa, folder, program=PROGRAM)]
    if shutil.which(EMULATOR) is None:
        pytest.skip(f"needs {EMULATOR} (Debian: qemu-user-static)")
    return [EMULATOR, compile_vec(CROSS_COMPILER, "neon", folder, "-static", program=PROGRAM)]


@pytest.fixture(scope="module")
def specification(tmp_path_factory):
    return compile_program("scalar", tmp_path_factory.mktemp("activations"))


@pytest.fixture(scope="module", params=[isa for isa in (*isas.supported(), "neon") if isa != "scalar"])
def program(request, tmp_path_factory):
    return compile_program(request.param, tmp_path_factory.mktemp("activations"))


def apply(program, function, x):
    command = [*program, "f32" if x.dtype == np.float32 else "f64", function]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, timeout=60, check=True)
    return np.frombuffer(done.stdout, x.dtype)


def exact(function, x):
    """In extended precision; NaN for NaN."""
    with mpmath.workprec(140):
        results = [EXACT[function](mpmath.mpf(float(v))) if v == v else mpmath.nan for v in x]
        return np.array([np.longdouble(float(v)) + (float(v - float(v)) if mpmath.isfinite(v) else 0) for v in results])


@pytest.mark.parametrize("function", EXACT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_within_2_ulp(function, dtype, specification):
    x = values(dtype)
    got, expected = apply(specification, function, x), exact(function, x)
    info = np.finfo(dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    exponents = np.maximum(np.frexp(expected)[1] - 1, info.minexp)
    with np.errstate(invalid="ignore"):
        errors = np.where(got == expected, 0, np.abs(got - expected)) / np.ldexp(
            np.longdouble(1), exponents - info.nmant
        )
    worst = np.nanargmax(errors)
    assert errors[worst] <= 2, f"{function}({x[worst]!r}): {got[worst]!r}, {errors[worst]} ulp off"
    numbers = ~np.isnan(x)
    if function == "tanh":
        np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(x[numbers]))
    assert (np.abs(got[numbers]) <= 1).all() or function == "relu"


@pytest.mark.parametrize("function", EXACT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits(function, dtype, program, specification):
    x = values(dtype)
    bits = [apply(command, function, x).view(f"u{x.itemsize}") for command in (program, specification)]
    numbers = ~np.isnan(x)  # which NaN comes out is left open
    np.testing.assert_array_equal(bits[0][numbers], bits[1][numbers])
    assert np.isnan(apply(program, function, x[~numbers])).all()
