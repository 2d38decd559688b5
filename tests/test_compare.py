"""benchmarks/compare.py and benchmarks/plot.py on a case that takes no time, with the peers that happen to be there."""

import importlib.util
import json
import runpy
import sys
from pathlib import Path

import pytest

from processes import output, run

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
COMPARE, FAMILY, PLOT, LAYOUTS = (BENCHMARKS / f"{name}.py" for name in ("compare", "family", "plot", "layouts"))
PEERS = {"numba": ["numba"], "PyTorch": ["torch"], "ONNX Runtime": ["onnxruntime", "onnx"], "JAX": ["jax"]}

pytestmark = pytest.mark.skipif(not COMPARE.exists(), reason="not beside the benchmarks")


def installed(packages):
    return all(importlib.util.find_spec(package) for package in packages)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """(the file that the comparison has written, its output)"""
    path = tmp_path_factory.mktemp("compare") / "speed.json"
    command = [sys.executable, COMPARE, "--quick", "1x768", "--seconds", "0.01", "--json", path]
    result = run(command, timeout=120)  # a peer may compile for a while
    assert result.returncode == 0, result.stderr
    return path, result


def test_all_installed_peers_take_part(compared):
    path, result = compared
    report = json.loads(path.read_text())
    [case] = report["results"]
    assert case["label"] == "1x768 float32 layer_norm"
    present = {name for name, packages in PEERS.items() if installed(packages)}
    assert case["contenders"].keys() == {"fastln", "copy", "NumPy"} | present
    assert report["versions"].keys() == {"fastln", "NumPy", "Python"} | present
    for name in PEERS:
        assert (f"{name}: not installed" in result.stderr) == (name not in present)
    for name, numbers in case["contenders"].items():
        assert f" {name} " in result.stdout
        assert 0 <= numbers["p10_us"] <= numbers["median_us"] <= numbers["p90_us"]
        assert 0 <= numbers["error"] < 100


def test_family(tmp_path):
    """The results are compared on the way."""
    path = tmp_path / "family.json"
    output([sys.executable, FAMILY, "--quick", "--peers", "", "--seconds", "0.001", "--json", path], timeout=120)
    results = json.loads(path.read_text())["results"]
    assert {"add_layer_norm", "modulation", "group_norm", "batch_moments"} < {result["op"] for result in results}
    for result in results:
        assert result["contenders"].keys() == {"fastln", "copy", "NumPy"}
        assert all(0 <= numbers["error"] < 100 for numbers in result["contenders"].values())


def test_list_of_the_issue():
    labels = output([sys.executable, COMPARE, "--list"]).splitlines()
    assert len(set(labels)) == len(labels) >= 28
    some = output([sys.executable, COMPARE, "--list", "4096x768", "128x*", "float16", "float64"]).splitlines()
    assert some == ["128x768 float64 layer_norm", "4096x768 float16 layer_norm"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["5x5"], "no case has '5x5'"),
        (["--threads", "0"], "expected a number above 0, got 0"),
        (["--peers", "numba,tensorflow"], "got 'tensorflow'"),
        (["--json", "/no/such/folder/speed.json"], "no such folder: /no/such/folder"),
    ],
)
def test_bad_arguments(words, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(COMPARE), *words])
    monkeypatch.syspath_prepend(BENCHMARKS)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(COMPARE), run_name="__main__")
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_table_and_picture(compared, tmp_path):
    path, _ = compared
    picture, table = tmp_path / "docs" / "speed.svg", tmp_path / "speed.md"
    result = run([sys.executable, PLOT, path, "--output", picture, "--table", table], timeout=60)
    text = table.read_text()
    assert "| 1x768 float32 layer_norm | " in text
    assert " µs · " in text
    assert "1 thread; fastln " in text
    if installed(["matplotlib"]):
        assert result.returncode == 0, result.stderr
        drawn = picture.read_bytes()
        assert b"<svg" in drawn
        picture.unlink()
        output([sys.executable, PLOT, path, "--output", picture], timeout=60)
        assert picture.read_bytes() == drawn  # so that a change in the repository is a change of numbers
    else:
        assert result.returncode == 2
        assert "python -m pip install matplotlib" in result.stderr


def test_plot_of_no_file(tmp_path):
    result = run([sys.executable, PLOT, tmp_path / "no.json"])
    assert result.returncode == 2
    assert "no.json" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "lines"), [(["--dtype", "float16", "one image"], 3), (["--random", "6", "--seed", "3"], 7)]
)
def test_layouts(arguments, lines):
    """The results are compared on the way."""
    printed = output([sys.executable, LAYOUTS, *arguments]).splitlines()
    assert len(printed) == lines
    assert all(float(line.split()[0]) > 0 for line in printed[:-1])
    assert printed[-1].startswith("median ")


def test_no_such_layout():
    result = run([sys.executable, LAYOUTS, "nowhere"], timeout=60)
    assert result.returncode == 2
    assert "no layout has 'nowhere' in its name" in result.stderr
