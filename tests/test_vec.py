"""The operations of the vec headers, one by one: tests/c/vec.c, compiled as setup.py compiles the kernels."""

import platform
import shutil

import pytest

import isas
from flags import SETUP, flags
from processes import HERE, SOURCES, output

PROGRAM = HERE / "c" / "vec.c"
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"

pytestmark = [
    pytest.mark.skipif(platform.system() == "Windows", reason="needs a Unix compiler and mmap"),
    pytest.mark.skipif(not SETUP.is_file(), reason="needs the sources of the kernels"),
]


def compile_vec(compiler, isa, folder, *options, program=PROGRAM):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    header = f'-DVEC_HEADER="vec_{isa}.h"'
    warnings = ["-Wall", "-Wextra", "-Werror"]
    compiling = [compiler, *flags(f"isa_{isa}"), *warnings, *options, header, f"-I{SOURCES}"]
    output([*compiling, program, "-o", folder / "vec", "-lm"], timeout=120)
    return folder / "vec"


def check(command):
    """A fault (exit code -11) is a read or write beyond the end of the page, or an aligned one where nothing is."""
    assert output(command, timeout=120).endswith(" checks passed")


@pytest.mark.parametrize("isa", isas.supported())
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_operations(compiler, isa, tmp_path):
    check([compile_vec(compiler, isa, tmp_path)])


def test_scalar_operations_without_vectors_of_the_compiler(tmp_path):
    check([compile_vec("gcc", "scalar", tmp_path, "-DFASTLN_NO_PARTS", "-Wpedantic")])


@pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"needs {EMULATOR} (Debian: qemu-user-static)")
@pytest.mark.parametrize("isa", ["scalar", "neon"])
def test_operations_on_aarch64(isa, tmp_path):
    check([EMULATOR, compile_vec(CROSS_COMPILER, isa, tmp_path, "-static"), 200_000])


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a compiler")
def test_a_wrong_order_is_noticed(tmp_path):
    """The program can fail: lanes folded in another order are another sum."""
    wrong = (SOURCES / "vec_scalar.h").read_text().replace("+= a.lane[i + half]", "+= a.lane[2 * half - 1 - i]")
    (tmp_path / "vec_scalar.h").write_text(wrong)
    program = compile_vec("gcc", "scalar", tmp_path, f"-I{tmp_path}")
    with pytest.raises(AssertionError, match="f32_fold4, lane"):
        check([program])
