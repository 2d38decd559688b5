"""The NEON kernels, cross-compiled into a C program and run by an emulator, give the bits that this processor gives."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastln
import vectors
from fastln.rnn import LayerNormGRU, LayerNormLSTM, LayerNormRNN
from flags import flags

ROOT = Path(__file__).resolve().parent.parent
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"

pytestmark = [
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"needs {COMPILER} (Debian: gcc-aarch64-linux-gnu)"),
    pytest.mark.skipif(not shutil.which(EMULATOR), reason=f"needs {EMULATOR} (Debian: qemu-user-static)"),
    pytest.mark.skipif(not (ROOT / "src").is_dir(), reason="needs the sources of the kernels"),
]


def compile_all(*commands):
    """Runs the compilers side by side."""
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate()[1] for process in running]
    assert not any(process.returncode for process in running), "".join(errors)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    folder = tmp_path_factory.mktemp("neon")
    sources = [*sorted((ROOT / "src").glob("*.c")), ROOT / "tests" / "c" / "driver.c"]
    objects = [folder / f"{source.stem}.o" for source in sources]
    # Without OpenMP, so the driver is serial.
    compiler = [COMPILER, *flags("run"), "-Wall", "-Wextra", f"-I{ROOT / 'src'}"]
    compile_all(*([*compiler, "-c", source, "-o", target] for source, target in zip(sources, objects, strict=True)))
    compile_all([COMPILER, "-static", *objects, "-o", folder / "driver", "-lm"])
    return folder / "driver"


def expected(case):
    """What fastln gives on this processor."""
    if case.kind == "moments":
        return np.stack(fastln.moments(case.rows))
    if case.kind == "ada":
        return fastln.ada_norm(case.rows, *vectors.C_AND_K, case.eps)
    if case.kind == "given":
        return fastln.normalize(case.rows, *case.statistics, case.weight, case.bias)
    if case.operation == "rms_norm":
        return fastln.rms_norm(case.rows, case.weight, case.eps)
    return fastln.layer_norm(case.rows, case.weight, case.bias, case.eps, subtract_mean=case.subtract_mean)


def bits(a):
    """The bits as integers; all NaNs are one."""
    integers = a.view(f"u{a.itemsize}")
    return np.where(np.isnan(a), integers.dtype.type(0), integers), np.isnan(a)


@pytest.mark.parametrize("isa_of_driver", ["neon", "scalar"])
@pytest.mark.parametrize("fmt", vectors.FORMATS, ids=str)
def test_same_bits(fmt, isa_of_driver, driver):
    cases = list(vectors.cases(fmt))[:: 5 if isa_of_driver == "scalar" else 1]  # scalar code is tested here, too
    done = subprocess.run(
        [EMULATOR, driver, isa_of_driver],
        input=b"".join(case.pack() for case in cases),
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    start = 0
    for case in cases:
        y = expected(case)
        y = y if case.kind == "moments" else case.arrange(y)
        got = np.frombuffer(done.stdout, y.dtype, y.size, start).reshape(y.shape)
        start += y.nbytes
        for a, b in zip(bits(got), bits(y), strict=True):
            np.testing.assert_array_equal(a, b, str(case))
    assert start == len(done.stdout)


def step_case(name, number, dtype, hidden):
    """What the driver reads for a step of 3 rows, and what fastln gives. Products of whole numbers are exact."""
    rng = np.random.default_rng(hidden)
    cls = {"lstm": LayerNormLSTM, "gru": LayerNormGRU}.get(name, LayerNormRNN)
    options = {"nonlinearity": "relu"} if name == "rnn_relu" else {}
    whole = lambda *shape: rng.integers(-9, 10, shape).astype(dtype)  # noqa: E731
    p = {vector: whole(factor * hidden) / 4 for vector, factor in cls._vectors.items()}
    p |= {weight: whole(cls._gates * hidden, hidden) for weight in ("weight_ih", "weight_hh")}
    x, state = whole(3, hidden), [whole(3, hidden) for _ in cls._states]
    cell = cls(**p, **options)
    _, new = cell.step(x, tuple(state) if len(state) > 1 else state[0])
    own, terms = cell._terms(), x @ p["weight_ih"].T
    for begin, end, weight, bias in own["norms"]:
        terms[:, begin:end] = fastln.layer_norm(terms[:, begin:end], weight, bias)
    vectors_of_step = [own.get(key) for key in ("weight", "bias", "inner_weight", "inner_bias")]
    arrays = [state[0] @ p["weight_hh"].T, terms, state[0], state[1] if len(state) > 1 else None, *vectors_of_step]
    packed = (
        np.array([number, dtype == np.float64, 3, hidden, cls._gates * hidden], np.int64).tobytes()
        + np.float64(1e-5).tobytes()
    )
    for a in arrays:
        packed += np.int64(0 if a is None else a.size).tobytes() + (b"" if a is None else a.astype(dtype).tobytes())
    return packed, b"".join(part.tobytes() for part in (new if len(state) > 1 else [new]))


@pytest.mark.parametrize("isa_of_driver", ["neon", "scalar"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_of_recurrent_cells(dtype, isa_of_driver, driver):
    cells = ["rnn_tanh", "rnn_relu", "lstm", "gru"]  # as in FASTLN_FOR_EACH_CELL
    cases = [step_case(name, i, dtype, hidden) for i, name in enumerate(cells) for hidden in (1, 5, 16, 37)]
    command, given = [EMULATOR, driver, isa_of_driver, "steps"], b"".join(packed for packed, _ in cases)
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"".join(expected for _, expected in cases)
