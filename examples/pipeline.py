"""What the examples share: reading a trained network, timing its normalizations, walking files, ending politely."""

import collections
import contextlib
import errno
import importlib
import importlib.util
import os
import pathlib
import stat
import sys
import time

import numpy as np

import fastln

INSTALL = 'python -m pip install ".[examples]"'


class SetupError(Exception):
    """The network or a package that it needs is not there."""


def require(package):
    """Import an optional package, or say how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SetupError(f"cannot import {package} ({error}). Install it with: {INSTALL}") from error


def package_folder(package):
    """Where a package with a trained network is installed, found without importing it, which would load far more."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(
            f"{package}, the package with the trained network, is not installed. Install it with: {INSTALL}"
        )
    return pathlib.Path(spec.submodule_search_locations[0])


class Tensors:
    """The constants in an ONNX file by their names, and its graph."""

    def __init__(self, path):
        onnx, self.numpy_helper = require("onnx"), require("onnx.numpy_helper")
        self.path, self.graph = path, onnx.load(path).graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}

    def __getitem__(self, name):
        if name not in self.constants:
            raise SetupError(f"{self.path}: not the network that this example knows: no tensor {name!r}")
        return self.numpy_helper.to_array(self.constants[name])


def onnx_session(path):
    """The network in ONNX Runtime, as its package runs it."""
    onnxruntime = require("onnxruntime")
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# Normalization and its time


def numpy_layer_norm(x, weight, bias, eps, axis):
    """The formula as one writes it in NumPy: the yardstick for the times."""
    mean = x.mean(axis, keepdims=True)
    var = x.var(axis, keepdims=True)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    return (x - mean) / np.sqrt(var + eps) * weight.reshape(shape) + bias.reshape(shape)


class Stopwatch:
    """Seconds by name, added up."""

    def __init__(self):
        self.seconds = collections.Counter()

    @contextlib.contextmanager
    def __call__(self, name):
        start = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - start


def report_normalization(seconds):
    norm, formula = seconds["fastln"], seconds["NumPy's formula"]
    print(
        f"Normalization: {norm:.4f} s with fastln (threads: {fastln.get_num_threads()}); NumPy's formula on the same "
        f"arrays: {formula:.4f} s, {formula / norm:.1f} times as long (measured in this run, not in the total)."
    )


# Files


def walk(paths):
    """Yield (path, problem) for each file, problem being None or the OSError of a folder that cannot be listed."""
    waiting = paths[::-1]
    while waiting:
        path = waiting.pop()
        if not os.path.isdir(path):
            yield path, None
            continue
        try:
            names = sorted(os.listdir(path), reverse=True)
        except OSError as problem:
            yield path, problem
            continue
        inside = [os.path.join(path, name) for name in names]
        waiting += [path for path in inside if not (os.path.islink(path) and os.path.isdir(path))]


def require_regular(path):
    """Only regular files are opened: a pipe or a terminal would block."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a folder")


def printable(text):
    """The text on one line, whatever it holds."""
    return text if text.isprintable() else ascii(text)[1:-1]


# Programs


def progress_bar(paths, batch):
    """A bar on the terminal when there is more than one batch of files, else one that shows nothing."""
    tqdm = require("tqdm").tqdm
    if not sys.stderr.isatty():
        return tqdm(disable=True)
    total = sum(1 for _ in walk(paths))
    return tqdm(total=total, unit="file", leave=False, file=sys.stderr, disable=total <= batch)


def run_program(parser, run, argv):
    """The exit status of run(arguments), whatever ends it."""
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run(args)
    except SetupError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
