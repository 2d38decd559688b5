"""What is built: the contents of sdist and wheel, the instructions in the compiled module, the stubs."""

import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fastln
from fastln import _core
from flags import flags
from processes import SOURCES, output

ROOT = Path(__file__).resolve().parent.parent

NO_KERNELS = """#include "fastln.h"
#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
const fastln_isa *const PASTE(fastln_isa, ISA) = NULL;
"""

needs_checkout = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not beside the source code")


def build(kind, source, target):
    pytest.importorskip("build")
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", target, source]
    output(command, cwd=target, timeout=900, env={"CFLAGS": "-O0"})
    [result] = target.iterdir()
    return result


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """Built from what a clean checkout has."""
    checkout = tmp_path_factory.mktemp("checkout") / "fastln"
    untracked = shutil.ignore_patterns(
        "build", "dist", "*.egg-info", ".git", "*.so", "*.o", "__pycache__", ".*_cache", ".venv", ".hypothesis"
    )
    shutil.copytree(ROOT, checkout, ignore=untracked)
    archive = build("sdist", checkout, tmp_path_factory.mktemp("sdist"))
    return checkout, archive


@pytest.fixture(scope="session")
def names_in_sdist(sdist):
    with tarfile.open(sdist[1]) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


# Clang may lack OpenMP's header, which also checks the serial code; a cross compiler knows no instruction sets of x86.
@pytest.mark.parametrize(
    ("compiler", "unknown"),
    [("gcc", ()), ("clang", "-fopenmp"), ("aarch64-linux-gnu-gcc", ("-mavx", "-mfma", "-mf16c"))],
)
@needs_checkout
def test_kernels_have_no_warnings(compiler, unknown):
    """Newer compilers make errors of some, as of a function without its header."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    for source in sorted(SOURCES.glob("*.c")):
        known = [flag for flag in flags(source.stem) if not flag.startswith(unknown)]
        output([compiler, *known, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", source], timeout=120)


@needs_checkout
def test_sdist_has_all_that_is_needed(names_in_sdist):
    for folder in ("src", "fastln", "tests", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".pyi", ".pyx", ".pxd", ".c", ".h", ".typed", ".sh"):
                assert path.relative_to(ROOT).as_posix() in names_in_sdist
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.py"} <= names_in_sdist


@needs_checkout
def test_sdist_has_nothing_generated(names_in_sdist):
    for name in names_in_sdist:
        assert not name.endswith((".so", ".pyd", ".o", ".pyc", ".whl"))
        assert not re.match(r"(build|dist|fastln)/.*\.(c|cpp|h)$", name), name


@needs_checkout
def test_wheels_from_sdist_and_checkout_are_equal(sdist, tmp_path):
    """And hold the package alone."""
    checkout, archive = sdist
    unpacked = tmp_path / "unpacked"
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    [source] = unpacked.iterdir()
    contents = []
    for i, folder in enumerate((checkout, source)):
        # The kernels take a minute to compile and change nothing in what is looked at here.
        (folder / "src" / "isa.inc.h").write_text(NO_KERNELS)
        target = tmp_path / f"wheel{i}"
        target.mkdir()
        with zipfile.ZipFile(build("wheel", folder, target)) as wheel:
            contents.append({name: wheel.read(name) for name in wheel.namelist()})
    first, second = contents
    assert first.keys() == second.keys()
    for name in first:
        if not name.endswith((".so", ".pyd", "RECORD")):
            assert first[name] == second[name], name
    names = {re.sub(r"\.(cpython|cp\d)[^/]*\.(so|pyd)$", ".so", name) for name in first if ".dist-info" not in name}
    assert names == {
        "fastln/__init__.py",
        "fastln/__main__.py",
        "fastln/_bench.py",
        "fastln/_cases.py",
        "fastln/_cells.pyi",
        "fastln/_cells.so",
        "fastln/_config.py",
        "fastln/_core.pyi",
        "fastln/_core.so",
        "fastln/_family.py",
        "fastln/_formula.py",
        "fastln/_plot.py",
        "fastln/_prepared.py",
        "fastln/kernels.pxd",
        "fastln/kernels.pyi",
        "fastln/kernels.so",
        "fastln/py.typed",
        "fastln/rnn.py",
    }


@pytest.fixture
def functions():
    """The disassembly of every function in the compiled module: (the source file it is from or "", text)."""
    if shutil.which("objdump") is None:
        pytest.skip("needs objdump")
    source, sources = "", {}
    for line in output(["objdump", "-t", _core.__file__], timeout=60).splitlines():
        if match := re.match(r"[0-9a-f]+ l +df \*ABS\*\s+\S+\s*(.*)$", line):
            source = match[1]  # the local symbols of a file follow its name
        elif match := re.match(r"([0-9a-f]+) l .* F \.text", line):
            sources[int(match[1], 16)] = source
    if "isa_scalar.c" not in sources.values():
        pytest.skip("the module has no symbols")
    code = output(["objdump", "-d", "--no-show-raw-insn", "-j", ".text", _core.__file__], timeout=120)
    parts = re.split(r"^([0-9a-f]+) <[^>]+>:$", code, flags=re.MULTILINE)[1:]
    return [(sources.get(int(address, 16), ""), text) for address, text in zip(parts[::2], parts[1::2], strict=True)]


@pytest.mark.skipif("avx2" not in fastln.show_config("dicts")["SIMD"]["compiled"], reason="no AVX in this build")
def test_no_avx_outside_its_files(functions):
    """All but the kernels of the two instruction sets runs on every x86-64, also what decides about them."""
    assert {source for source, text in functions if re.search(r"%[yz]mm\d", text)} <= {"isa_avx2.c", "isa_avx512.c"}
    assert any("%ymm" in text for source, text in functions if source == "isa_avx2.c")  # it would have been seen
    # VEX encodings of the 128-bit instructions fault on older machines just the same.
    assert {source for source, text in functions if re.search(r"\tv[a-z0-9]+ +.*%xmm", text)} <= {
        "isa_avx2.c",
        "isa_avx512.c",
    }


def test_stubs(tmp_path):
    pytest.importorskip("mypy")
    output([sys.executable, "-m", "mypy.stubtest", "fastln"], cwd=tmp_path, timeout=300)


CALLS = """import numpy as np
import fastln

def calls(x: np.ndarray, flag: bool) -> None:
    y: np.ndarray = fastln.layer_norm(x, x[0], None, np.float32(1e-5), axis=(-1,), out=x)
    y, mean, rstd = fastln.layer_norm(x, return_stats=True)
    y, rstd = fastln.rms_norm(x, [1, 2], 0, return_stats=True)
    fastln.layer_norm(x, return_stats=flag)
    fastln.rms_norm(x, return_stats=flag)
    norm: fastln.LayerNorm = fastln.LayerNorm.from_mapping({"weight": x}, eps=1)
    y = norm(x, out=x)
"""


def test_calls_that_type_checkers_accept(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "calls.py").write_text(CALLS)
    output([sys.executable, "-m", "mypy", "calls.py"], cwd=tmp_path, timeout=300)


def test_calls_that_type_checkers_refuse(tmp_path):
    api = pytest.importorskip("mypy.api")
    calls = [
        "fastln.rms_norm(x, x, x)",
        "fastln.RMSNorm(x, x)",
        "fastln.layer_norm(x, eps=1j)",
        "fastln.layer_norm(x, axis='a')",
    ]
    (tmp_path / "calls.py").write_text("\n".join(["import numpy as np, fastln", "x = np.ones(3)", *calls]))
    said = api.run(["--cache-dir", str(tmp_path / "cache"), str(tmp_path / "calls.py")])[0]
    assert [line for line in range(3, 7) if f"calls.py:{line}: error" not in said] == []
