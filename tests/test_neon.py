"""The NEON kernels, cross-compiled into a C program and run by an emulator, give the bits that this processor gives."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastln
import vectors
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
