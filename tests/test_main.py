"""`python -m fastln`: run as its users run it, from a folder that is not the checkout. No test looks at a time."""

import importlib.util
import json
import re
import sys

import pytest

import fastln
import fastln.__main__ as program
from processes import output, python, run

MAIN = [sys.executable, "-m", "fastln"]
QUICK = ["--seconds", "0.01"]
# Runs the module in a process in which a package can't be imported, installed or not.
WITHOUT = """
import runpy, sys
sys.modules[sys.argv.pop(1)] = None
sys.argv[0] = "fastln"
runpy.run_module("fastln", run_name="__main__")
"""


def bench(*words, **options):
    return run([*MAIN, "bench", *QUICK, *words], **options)


def test_info():
    text = output([*MAIN, "info"], env={"FASTLN_NUM_THREADS": "1", "FASTLN_ISA": "scalar"})
    assert f"version: {fastln.__version__}\n" in text
    assert "active: scalar\n" in text
    assert "number: 1\n" in text
    for name in ("compiled", "supported", "compiler", "processor", "Python", "NumPy"):
        assert re.search(rf"^  {name}: \S", text, re.MULTILINE), name


def test_bench_prints_a_row_per_shape_and_dtype(tmp_path):
    result = bench("4x16", "float64", "--axis", "0", "2x3x5", "float16", "--threads", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    rows = [line.split()[:3] for line in result.stdout.splitlines() if "layer_norm" in line]
    shapes, dtypes = ("4x16", "2x3x5"), ("float64", "float16")
    assert rows == [[shape, dtype, "layer_norm"] for shape in shapes for dtype in dtypes]
    assert "1 thread" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_bench_has_defaults():
    result = bench("--seconds", "0.001", "--affine", "none", timeout=60)
    assert result.returncode == 0, result.stderr
    assert "128x768 float32 layer_norm affine=none" in result.stdout


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_json_on_standard_output_stands_alone(dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    result = bench("3x40", dtype, "--op", "rms_norm", "--threads", "2", "--json", "-")
    assert "3x40" in result.stderr  # the table
    report = json.loads(result.stdout)
    assert report["versions"]["fastln"] == fastln.__version__
    assert report["threads"] == 2
    [case] = report["results"]
    assert (case["op"], case["shape"], case["dtype"], case["affine"]) == ("rms_norm", [3, 40], dtype, "weight")
    assert case["contenders"].keys() == {"fastln", "copy", "NumPy"}
    for numbers in case["contenders"].values():
        assert 0 <= numbers["p10_us"] <= numbers["median_us"] <= numbers["p90_us"]
        assert numbers["samples"] >= 7
        assert 0 <= numbers["error"] < 8


def test_json_file(tmp_path):
    result = bench("2x8", "--json", "speed.json", cwd=tmp_path)
    assert "2x8" in result.stdout
    assert json.loads((tmp_path / "speed.json").read_text())["results"][0]["label"] == "2x8 float32 layer_norm"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["128y768"], "expected a shape such as 128x768, or one of float32, float64, float16, bfloat16, got '128y768'"),
        (["float8"], "got 'float8'"),
        (["0x5"], "got '0x5'"),
        (["-4x5"], "-4x5"),
        (["99999999x99999999"], "expected a shape of at most 2^31 values and 32 axes, got '99999999x99999999'"),
        (["9" * 5000], "expected a shape"),
        (["4x5", "--axis", "2"], "argument --axis: expected -2 to 1 for shape 4x5, got 2"),
        (["4x5", "--axis", "last"], "argument --axis: invalid int value: 'last'"),
        (["4x5", "--threads", "0"], "argument --threads: expected a number above 0, got '0'"),
        (["4x5", "--seconds", "nan"], "argument --seconds: expected a number above 0, got 'nan'"),
        (["4x5", "--op", "rms_norm", "--affine", "both"], "rms_norm has no bias: expected none or weight, got 'both'"),
        (["4x5", "--plot", "speed.jpg"], "expected a name that ends in .png or .svg, got 'speed.jpg'"),
        (["4x5", "--json", "/no/such/folder/speed.json"], "expected a file in an existing folder"),
    ],
)
def test_bad_arguments(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fastln", "bench", *words])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert message in stderr.splitlines()[-1]


def without(package, *words, **options):
    return run([sys.executable, "-c", WITHOUT, package, "bench", *QUICK, *words], **options)


@pytest.mark.parametrize(
    ("package", "words"), [("matplotlib", ["--plot", "speed.svg"]), ("ml_dtypes", ["bfloat16"])], ids=lambda v: v[0]
)
def test_missing_package(package, words, tmp_path):
    result = without(package, "4x5", *words, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith(f"python -m pip install {package}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def long_run(monkeypatch):
    """Begins one that counts as long, and ends it."""
    monkeypatch.setattr(program, "LONG", 0)
    monkeypatch.setattr(sys, "argv", ["fastln", "bench", *QUICK, "2x8", "4x5"])
    return program.main


def test_long_runs_say_so_without_tqdm(long_run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert long_run() == 0
    assert capsys.readouterr().err == "Measuring 2 rows, about 0 s ...\n"


def test_long_runs_have_a_bar(long_run, monkeypatch, capsys):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert long_run() == 0
    stdout, stderr = capsys.readouterr()
    assert "0/2" in stderr
    assert [line.split()[0] for line in stdout.splitlines() if "layer_norm" in line] == ["2x8", "4x5"]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_plot(suffix, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    result = bench("4x5", "2x8", "--plot", f"speed{suffix}", cwd=tmp_path, timeout=60)
    assert result.returncode == 0, result.stderr
    start = (tmp_path / f"speed{suffix}").read_bytes()[:200]
    assert start.startswith(b"\x89PNG") or b"<?xml" in start


def test_import_leaves_out_what_only_measures():
    loaded = python("import sys, fastln; print(*sys.modules)").split()
    assert not {"fastln._bench", "fastln._cases", "fastln._plot", "fastln._formula", "tqdm", "argparse"} & set(loaded)
