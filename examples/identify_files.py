"""Tell the types of files with a trained network that runs in NumPy, its normalizations in fastln.

    python -m pip install ".[examples]"
    python examples/identify_files.py PATH...

The network is the one that the package `magika` ships (standard_v3_3; Google, Apache License 2.0: the model is read
where magika is installed, nothing of it is copied here). It knows 214 types and looks only at the two ends of a file:

    2048 tokens          the first and the last 1024 bytes, less white space at the ends; 256 where a file is shorter
    embedding, GELU      64 numbers for each token; four tokens side by side make one of 512 positions of 256 channels
    layer norm, axis 1   each of the 256 channels over the 512 positions of the file      (files, 512, 256)
    convolution, GELU    512 filters of 5 positions by 256 channels
    max-pool             the largest answer of each filter
    layer norm           over the 512 filters                                             (files, 512)
    dense, softmax       a score for each of the 214 types

Both normalizations happen in `Network.normalize`, the only place that calls fastln. The same function also times what
NumPy's formula takes on the same array, which the last lines of the output report.
"""

import argparse
import itertools
import json
import math
import os
import sys
import time

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
    require_regular,
    run_program,
    softmax,
    walk,
)

MODEL = "standard_v3_3"
DESCRIPTION = "Tell the types of files with Magika's trained network, run in NumPy with fastln."
EPILOG = """\
One line for each file: its path, its type and the network's score for it.
Folders are walked in sorted order; links to folders inside them are not
followed. Files too short for the network get their type by rule: empty, txt
(valid UTF-8) or unknown. What cannot be read gets a line that says why, and
the rest goes on.

exit status: 0; 1 if something could not be read or --compare found more than
the allowed difference; 2 for a wrong command line or a missing package; 130
after Ctrl-C."""

TOLERANCE = 2e-3  # of a score: between this program and ONNX Runtime
FLOAT64_TOLERANCE = 2e-5  # and, where they differ by more, between this program and the same network in float64

GRAPH = "jax2tf_get_logits_/"
LAYERS = GRAPH + "pjit_get_logits_/MagikaV2/"
TENSOR_NAMES = {
    "embedding": GRAPH + "Const:0",  # (257, 64)
    "embedding_bias": LAYERS + "Dense_0/Reshape:0",  # (1, 1, 64)
    "positions_weight": LAYERS + "LayerNorm_0/Reshape_2:0",  # (1, 512, 1)
    "positions_bias": LAYERS + "LayerNorm_0/Reshape_3:0",  # (1, 512, 1)
    "filters": LAYERS + "Conv_0/transpose_3:0",  # (512 filters, 256 channels, 5 positions, 1)
    "filters_bias": "const_fold_opt__209",  # (1, 512, 1)
    "pooled_weight": LAYERS + "LayerNorm_1/Reshape_2:0",  # (1, 512)
    "pooled_bias": LAYERS + "LayerNorm_1/Reshape_3:0",  # (1, 512)
    "dense": GRAPH + "Const_24:0",  # (512, 214)
    "dense_bias": LAYERS + "Dense_1/Reshape:0",  # (1, 214)
    "eps": GRAPH + "Const_21:0",  # of both normalizations
}


# The network


def gelu(x):
    """The tanh form of Hendrycks & Gimpel 2016 (arXiv:1606.08415), as in the graph."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


class Network:
    """From tokens, integers (files, 2048), to scores, float32 (files, 214)."""

    def __init__(self, t, stopwatch):
        # What follows the embedding works on each element alone, so it is done once for the table of 257 tokens.
        self.table = gelu(t["embedding"] + t["embedding_bias"][0])
        self.positions_norm = t["positions_weight"].ravel(), t["positions_bias"].ravel()
        count, self.channels, self.width, _ = t["filters"].shape
        self.filters = np.ascontiguousarray(t["filters"].transpose(2, 1, 3, 0).reshape(-1, count))
        self.filters_bias = t["filters_bias"].ravel()
        self.pooled_norm = t["pooled_weight"].ravel(), t["pooled_bias"].ravel()
        self.dense, self.dense_bias = t["dense"], t["dense_bias"]
        self.eps = float(t["eps"])
        self.stopwatch = stopwatch

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = self.normalize(x, *self.positions_norm, axis=1)
        x = self.convolve_and_pool(x)
        x = self.normalize(x, *self.pooled_norm, axis=-1)
        return softmax(x @ self.dense + self.dense_bias)

    def embed(self, tokens):
        return self.table[tokens].reshape(len(tokens), -1, self.channels)

    def normalize(self, x, weight, bias, axis):
        """Layer norm over one axis, in place; NumPy's formula runs first, on the same array, for its time alone."""
        with self.stopwatch("NumPy's formula"):
            numpy_layer_norm(x, weight, bias, self.eps, axis % x.ndim)
        with self.stopwatch("fastln"):
            return fastln.layer_norm(x, weight, bias, self.eps, axis=axis, out=x)

    def convolve_and_pool(self, x):
        """Each filter's largest GELU over the file."""
        windows = np.lib.stride_tricks.sliding_window_view(x.reshape(len(x), -1), self.width * self.channels, axis=1)
        windows = windows[:, :: self.channels]  # one window for each position: the rows of one large product
        answers = (windows.reshape(-1, windows.shape[-1]) @ self.filters).reshape(len(x), -1, self.filters.shape[1])
        # GELU falls to its minimum and rises from there on. So its largest value over some numbers is found at the
        # smallest or at the largest of them, and two values for each filter need a tanh instead of 508.
        low, high = answers.min(axis=1) + self.filters_bias, answers.max(axis=1) + self.filters_bias
        return np.maximum(gelu(low), gelu(high))


class Float64Network(Network):
    """The same in float64 with NumPy's formula: it tells which of two float32 results is off."""

    def __init__(self, tensors):
        super().__init__({name: tensor.astype(np.float64) for name, tensor in tensors.items()}, None)

    def normalize(self, x, weight, bias, axis):
        return numpy_layer_norm(x, weight, bias, self.eps, axis % x.ndim)


# Magika's files and rules


def model_folder():
    return package_folder("magika")


def load_tensors(path):
    """The network's tensors under the names of `TENSOR_NAMES`."""
    tensors = Tensors(path)
    return {name: tensors[full_name] for name, full_name in TENSOR_NAMES.items()}


class Rules:
    """What Magika's configuration says about reading a file and about trusting a score."""

    def __init__(self, config, content_types):
        if config["mid_size"] or config["use_inputs_at_offsets"]:
            raise SetupError(f"the network of magika's {MODEL} reads other parts of a file than its two ends")
        self.head_size, self.tail_size = config["beg_size"], config["end_size"]
        self.block_size, self.min_size = config["block_size"], config["min_file_size_for_dl"]
        self.padding = config["padding_token"]
        self.labels = config["target_labels_space"]
        self.renamed, self.thresholds = config["overwrite_map"], config["thresholds"]
        self.threshold = config["medium_confidence_threshold"]
        self.is_text = {label: about["is_text"] for label, about in content_types.items()}

    @classmethod
    def load(cls, folder):
        paths = folder / "models" / MODEL / "config.min.json", folder / "config" / "content_types_kb.min.json"
        return cls(*(json.loads(path.read_text(encoding="utf-8")) for path in paths))

    def tokens(self, head, tail):
        """The network's input, from the first and the last block of a file; None if that is too little."""
        head, tail = head.lstrip()[: self.head_size], tail.rstrip()[-self.tail_size :]
        if len(head) < self.min_size:
            return None
        tokens = np.full(self.head_size + self.tail_size, self.padding, np.int32)
        tokens[: len(head)] = np.frombuffer(head, np.uint8)
        tokens[len(tokens) - len(tail) :] = np.frombuffer(tail, np.uint8)
        return tokens

    def label_of_few_bytes(self, content):
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            return "unknown"
        return "txt"

    def label(self, best, score):
        """The type to report when `best` is the network's choice: a generic one if its score is too low."""
        label = self.renamed.get(best, best)
        if score >= self.thresholds.get(best, self.threshold):
            return label
        return "txt" if self.is_text[label] else "unknown"


# Files


def read_ends(path, block_size):
    """The first and the last block of a file."""
    require_regular(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(min(size, block_size))
        file.seek(max(0, size - block_size))
        return head, file.read(min(size, block_size))


class File:
    """One line of the output: the tokens of a file if the network is to look at it, else the verdict."""

    def __init__(self, path, problem, rules):
        self.path, self.tokens, self.verdict, self.unreadable = path, None, None, False
        try:
            if problem:
                raise problem
            head, tail = read_ends(path, rules.block_size)
        except OSError as error:
            self.verdict, self.unreadable = f"cannot be read: {error.strerror or error}", True
            return
        self.tokens = rules.tokens(head, tail)
        if not head:
            self.verdict = "empty"
        elif self.tokens is None:
            self.verdict = f"{rules.label_of_few_bytes(head)} (by rule: too few bytes for the network)"

    def judge(self, scores, rules):
        best = scores.argmax()
        guess, score = rules.labels[best], float(scores[best])
        label = rules.label(guess, score)
        self.verdict = f"{label} {score:.4f}" + (f" (the network's guess: {guess})" if label != guess else "")


# The comparison with ONNX Runtime


class Comparison:
    """The same tokens through Magika's own graph: which labels differ, and the largest difference of a score.

    Where scores differ by more than TOLERANCE, the network in float64 says whose are off.
    """

    def __init__(self, path, tensors, rules, stopwatch):
        self.session = onnx_session(path)
        self.float64_network = Float64Network(tensors)
        self.labels, self.stopwatch = rules.labels, stopwatch
        self.files = self.beyond = 0
        self.largest = self.error_here = self.error_there = 0.0
        self.different, self.labels_agree = [], True

    def add(self, files, tokens, scores):
        with self.stopwatch("ONNX Runtime"):
            (expected,) = self.session.run(["target_label"], {"bytes": tokens})
        self.files += len(files)
        differences = np.abs(scores - expected).max(axis=1)
        self.largest = max(self.largest, differences.max())
        beyond = differences > TOLERANCE
        if beyond.any():
            self.ask_float64(tokens[beyond], scores[beyond], expected[beyond])
        ours, theirs = scores.argmax(axis=1), expected.argmax(axis=1)
        for i in np.flatnonzero(ours != theirs):
            lead = expected[i, theirs[i]] - expected[i, ours[i]]
            self.different.append((files[i].path, self.labels[ours[i]], self.labels[theirs[i]], lead))
            self.labels_agree &= bool(beyond[i] or lead <= TOLERANCE)

    def ask_float64(self, tokens, scores, expected):
        """Which of two results is off? If the scores here are right, so are the labels."""
        with self.stopwatch("float64"):
            exact = self.float64_network(tokens)
        self.beyond += len(tokens)
        self.error_here = max(self.error_here, np.abs(scores - exact).max())
        self.error_there = max(self.error_there, np.abs(expected - exact).max())

    @property
    def passed(self):
        return self.labels_agree and self.error_here <= FLOAT64_TOLERANCE

    def report(self):
        print(
            f"ONNX Runtime: {self.files - len(self.different)} of {self.files} labels agree; "
            f"largest score difference {self.largest:.2e} (allowed: {TOLERANCE:g})."
        )
        for path, ours, theirs, lead in self.different:
            tie = ", a tie" if lead <= TOLERANCE else ""
            print(f"  Different: {printable(path)}: {ours} here; {theirs} in ONNX Runtime, ahead by {lead:.1e}{tie}.")
        print(
            "  Its graph computes variances as E[x^2] - E[x]^2, which by itself costs up to 1e-3, "
            "and more in files of few or equal bytes."
        )
        if self.beyond:
            print(
                f"  Files beyond what is allowed: {self.beyond}. From the same network in float64, the scores here "
                f"are off by at most {self.error_here:.1e} (allowed: {FLOAT64_TOLERANCE:g}), "
                f"those of ONNX Runtime by {self.error_there:.1e}."
            )


# The program


def identify(files, network, rules, comparison):
    """Give a verdict to all files of a batch that have none yet."""
    files = [file for file in files if file.tokens is not None]
    if not files:
        return
    tokens = np.stack([file.tokens for file in files])
    scores = network(tokens)
    for file, row in zip(files, scores, strict=True):
        file.judge(row, rules)
    if comparison:
        comparison.add(files, tokens, scores)


def report(files, unreadable, elapsed, seconds):
    elapsed -= seconds["NumPy's formula"] + seconds["ONNX Runtime"] + seconds["float64"]
    print(f"\n{files} files in {elapsed:.2f} s" + (f"; {unreadable} paths could not be read" if unreadable else ""))
    if not seconds["fastln"]:
        print("Nothing to normalize: no file was long enough for the network.")
        return
    report_normalization(seconds)


def run(args):
    start, stopwatch = time.perf_counter(), Stopwatch()
    folder = model_folder()
    model = folder / "models" / MODEL / "model.onnx"
    try:
        rules, tensors = Rules.load(folder), load_tensors(model)
    except OSError as error:
        raise SetupError(f"{error.filename}: {error.strerror}. Is this magika 1.0?") from error
    network = Network(tensors, stopwatch)
    comparison = Comparison(model, tensors, rules, stopwatch) if args.compare else None
    paths, identified, unreadable = walk(args.paths), 0, 0
    with progress_bar(args.paths, args.batch) as bar:
        while batch := [File(path, problem, rules) for path, problem in itertools.islice(paths, args.batch)]:
            identify(batch, network, rules, comparison)
            width = min(60, max(len(printable(file.path)) for file in batch))
            lines = [f"{printable(file.path):{width}}  {file.verdict}" for file in batch]
            bar.write("\n".join(lines), file=sys.stdout)
            bar.update(len(batch))
            problems = sum(file.unreadable for file in batch)
            unreadable, identified = unreadable + problems, identified + len(batch) - problems
    report(identified, unreadable, time.perf_counter() - start, stopwatch.seconds)
    if comparison:
        comparison.report()
    sys.stdout.flush()
    return 1 if unreadable or (comparison and not comparison.passed) else 0


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {number}")
    return number


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a folder with all that is in it")
    parser.add_argument("--compare", action="store_true", help="run the network in ONNX Runtime, too, and compare")
    parser.add_argument("--batch", metavar="N", type=positive, default=32, help="files at a time (32; 5 MB each)")
    return run_program(parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
