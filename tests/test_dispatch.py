"""Which instruction set is active, and who decides."""

import shutil
import sys

import numpy as np
import pytest

import fastln
import isas
from fastln import _core
from processes import HERE, SOURCES, compile_c, output, python, run

NAMES = [name for name, compiled, supported in _core._isas()]
SUPPORTED = isas.supported()
UNAVAILABLE = [name for name in NAMES if name not in SUPPORTED]
ACTIVE = "import fastln; print(fastln.show_config('dicts')['SIMD']['active'])"


def test_scalar_is_always_there():
    assert NAMES[0] == "scalar"
    assert "scalar" in SUPPORTED


def test_default_is_the_best_one():
    assert python(ACTIVE) == SUPPORTED[-1]
    assert python(ACTIVE, env={"FASTLN_ISA": ""}) == SUPPORTED[-1]


@pytest.mark.parametrize("name", SUPPORTED)
def test_variable_forces_one(name):
    assert python(ACTIVE, env={"FASTLN_ISA": name}) == name


@pytest.mark.parametrize("name", [*UNAVAILABLE, "AVX2", "sse9", " avx2", "avx2,scalar", "é"])
def test_wrong_variable_is_an_import_error(name):
    result = run([sys.executable, "-c", "import fastln"], env={"FASTLN_ISA": name})
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: FASTLN_ISA")
    assert all(possible in last for possible in SUPPORTED)
    assert name in last or not name.isascii()


def test_switch(isa):
    assert fastln.show_config("dicts")["SIMD"]["active"] == isa


@pytest.mark.parametrize("name", [*UNAVAILABLE, "AVX2", ""])
def test_wrong_switch_changes_nothing(name):
    before = _core._active_isa()
    with pytest.raises(ValueError, match="scalar"):
        _core._select_isa(name)
    assert _core._active_isa() == before


def test_each_one_computes():
    x = np.random.default_rng(0).standard_normal((5, 1000), dtype=np.float32)
    results = set()
    for name in SUPPORTED:
        with isas.using(name):
            results.add(fastln.layer_norm(x).tobytes())
    assert len(results) == 1


# --- cpu.c -----------------------------------------------------------------------------------------------------------


def test_agrees_with_the_operating_system(tmp_path):
    """Linux lists the extensions that it lets programs use."""
    flags = set()
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith(("flags", "Features")):
                    flags = set(line.split(":")[1].split())
                    break
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    expected = ["scalar"]
    if flags >= {"avx", "avx2", "fma", "f16c"}:
        expected.append("avx2")
        if flags >= {"avx512f", "avx512bw", "avx512dq", "avx512vl"}:
            expected.append("avx512")
    if "asimd" in flags:
        expected.append("neon")
    program = compile_c(tmp_path / "cpu", HERE / "c" / "cpu.c", SOURCES / "cpu.c")
    assert output([program]).split() == expected
    assert [name for name, _, supported in _core._isas() if supported] == expected


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("qemu64", ["scalar"]),
        ("Nehalem", ["scalar"]),
        ("SandyBridge", ["scalar"]),  # AVX, but not AVX2
        ("max,-fma", ["scalar"]),
        ("max,-f16c", ["scalar"]),
        ("max,-xsave", ["scalar"]),  # the registers are not saved
        ("Haswell", ["scalar", "avx2"]),
        ("max", ["scalar", "avx2"]),  # QEMU does not emulate AVX-512
    ],
)
def test_other_processors(processor, expected, tmp_path):
    """On a processor without them, nothing of the sort is found, and finding that out runs nothing illegal."""
    qemu = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("needs QEMU's user mode: apt install qemu-user-static")
    program = compile_c(tmp_path / "cpu", HERE / "c" / "cpu.c", SOURCES / "cpu.c", flags=["-static"])
    assert output([qemu, "-cpu", processor, program]).split() == expected
