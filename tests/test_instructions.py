"""The guard on instruction counts (benchmarks/instructions.py), as far as it counts nothing: reading callgrind's dumps,
and what is said about two counts. The count itself is a step of .ci/run."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "instructions.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the benchmarks")


@pytest.fixture(scope="module")
def instructions():
    spec = importlib.util.spec_from_file_location("instructions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DUMP = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
cmd:  ./count avx2
part: 4

positions: line
events: Ir
summary: 1700

ob=/lib/libc.so.6
fl=???
fn=main
cob=/tmp/count
cfn=counted
calls=1 0
0 1700

fn=memcpy
0 400

ob=/tmp/count
fl=???
fn=counted
0 10
cfn=fastln_run
calls=1 0
0 1690

fn=fastln_run
120 90
cob=/lib/libc.so.6
cfi=???
cfn=memcpy
calls=16 0
120 400
121 1200

totals: 1700
"""


def test_own_instructions(instructions):
    """Neither those of libraries nor, a second time, those of callees."""
    assert instructions.own_instructions(DUMP, "/tmp/count") == 10 + 90 + 1200
    assert instructions.own_instructions(DUMP, "/lib/libc.so.6") == 400
    assert instructions.own_instructions(DUMP, "/elsewhere/count") == 0


def test_elements(instructions):
    assert instructions.elements("layer_norm f32 rows 64x768 weight bias") == 64 * 768
    assert instructions.elements("rms_norm f16 columns 4x96x196") == 4 * 96 * 196


def counts(compiler="gcc 12.2.0", **cases):
    return {"compiler": compiler, "instructions per element": {"a": 2.0, "b": 10.0} | cases}


def report(instructions, now, recorded=None):
    lines, code = instructions.report(counts() if recorded is None else recorded, now)
    return "\n".join(lines), code


@pytest.mark.parametrize("b", [9.71, 10.0, 10.29])
def test_within_the_slack(instructions, b):
    text, code = report(instructions, counts(b=b))
    assert code == 0
    assert "all 2 cases are within 3% of the record" in text


@pytest.mark.parametrize("compiler", ["gcc 12.2.0", "gcc 12.4.1"])
def test_regression(instructions, compiler):
    text, code = report(instructions, counts(compiler, a=1.0, b=10.31))
    assert code == 1
    assert text.count("WORSE") == 1
    assert "10.0000   10.3100    +3.1%  WORSE" in text
    assert "over 3% more instructions than recorded: 1;" in text
    assert "instructions.py --record" in text


def test_improvement(instructions):
    text, code = report(instructions, counts(b=9.69))
    assert code == 0
    assert "10.0000    9.6900    -3.1%  better" in text
    assert "better: 1; record it with python benchmarks/instructions.py --record" in text


@pytest.mark.parametrize("compiler", ["gcc 12.2.0", "clang 19.1.0"])
@pytest.mark.parametrize(
    ("recorded", "now", "verdict"),
    [({}, {"c": 1.0}, "not in the record"), ({"c": 1.0}, {}, "in the record only")],
)
def test_new_or_missing_case(instructions, recorded, now, verdict, compiler):
    """An error under every compiler: what is not recorded is not guarded."""
    text, code = report(instructions, counts(compiler, **now), counts(**recorded))
    assert code == 1
    assert verdict in text
    assert "cases on one side only: 1;" in text


@pytest.mark.parametrize("compiler", ["gcc 13.2.0", "clang 12.2.0"])
def test_other_compiler(instructions, compiler):
    """Its numbers are shown, but nothing follows from them; and that is said."""
    text, code = report(instructions, counts(compiler, b=20.0))
    assert code == 0
    assert "+100.0%" in text
    assert f"NOTHING WAS COMPARED: the record was made with gcc 12.2.0, this with {compiler}" in text
    assert "WORSE" not in text
    assert "within" not in text


def test_record_is_complete(instructions):
    """Every case on every instruction set, and no other."""
    record = json.loads(instructions.RECORD.read_text())
    cases = [f"{isa} {case}" for isa in instructions.ISAS for case in instructions.CASES]
    assert sorted(record["instructions per element"]) == sorted(cases)
    assert all(number > 0 for number in record["instructions per element"].values())
    assert instructions.major(record["compiler"]).startswith(("gcc ", "clang "))


@pytest.mark.parametrize(("program", "package"), [("valgrind", "valgrind"), ("a-compiler", "gcc")])
def test_what_is_missing_is_named(instructions, program, package, monkeypatch, capsys):
    monkeypatch.setenv("CC", "a-compiler -m64")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else f"/usr/bin/{name}")
    assert instructions.main([]) == 2
    message = capsys.readouterr().err
    assert f"{program} is not found" in message
    assert f"Debian: {package}" in message
