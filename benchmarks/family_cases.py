"""The family's calls, in the forms that fastln, NumPy and PyTorch have for them: one list of cases for
benchmarks/family.py and benchmarks/test_family.py.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import peers

import fastln
from fastln import _cases
from fastln import _formula as formula
from fastln._bench import Contender

GROUPS = 32
HALF = ("float16", "bfloat16")


class Arrays(NamedTuple):
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    residual: np.ndarray
    mean: np.ndarray
    spread: np.ndarray  # the variance for batch_norm, 1 / sqrt(var + eps) for normalize


@dataclass(frozen=True)
class Case:
    """form: where the channels are, or which heads of a packed (B, S, 3, heads, 64) array."""

    op: str
    shape: tuple[int, ...]
    form: str = ""
    dtype: str = "float32"

    @property
    def label(self):
        return " ".join(filter(None, ("x".join(map(str, self.shape)), self.dtype, self.op, self.form)))

    @property
    def size(self):
        return math.prod(self.shape)

    @property
    def channel(self):
        return 1 if self.form == "channels_first" else -1

    def view(self, stored):
        return {"q": stored[:, :, 0], "qk": stored[:, :, :2]}[self.form] if self.form in ("q", "qk") else stored

    def empty(self):
        return self.view(np.empty(self.shape, _cases.numpy_dtype(self.dtype)))

    def parameter_shape(self):
        length = self.shape[self.channel]
        if self.op == "modulation":
            return self.shape[0], 1, length
        return (1, 1, 2, 1, length) if self.form == "qk" else (length,)

    def arrays(self):
        rng = np.random.default_rng(0)
        compute = np.float64 if self.dtype == "float64" else np.float32
        x, residual = (
            self.view(rng.standard_normal(self.shape, compute).astype(_cases.numpy_dtype(self.dtype), copy=False))
            for _ in range(2)
        )
        noise = 0.1 * rng.standard_normal((2, *self.parameter_shape()), compute)
        weight = noise[0] if self.op == "modulation" else 1 + noise[0]
        statistics = self.shape[:-1] if self.op == "normalize" else self.shape[self.channel]
        mean, spread = 0.1 * rng.standard_normal(statistics, compute), 0.5 + rng.random(statistics, compute)
        return Arrays(x, weight, noise[1], residual, mean.astype(compute), spread.astype(compute))


def listed():
    """Of each, one that the second cache holds and one that goes to memory."""
    for op in ("add_layer_norm", "add_rms_norm", "normalize", "moments", "ada_norm"):
        yield Case(op, (128, 768))
        yield Case(op, (4096, 768))
    for op in ("add_layer_norm", "add_rms_norm"):
        yield Case(op, (4096, 768), dtype="bfloat16")
    yield Case("modulation", (2, 64, 768))
    yield Case("modulation", (8, 512, 768))
    for batch, places in ((1, 32), (4, 1024)):
        yield Case("rms_norm", (batch, places, 3, 12, 64), "q")
        yield Case("rms_norm", (batch, places, 3, 12, 64), "qk")
        yield Case("layer_norm", (batch, places, 3, 12, 64), "qk")
    images = {
        "group_norm": ((1, 16, 16, 320), (8, 32, 32, 320)),
        "instance_norm": ((1, 32, 32, 64), (8, 64, 64, 64)),
        "batch_norm": ((1, 32, 32, 64), (16, 56, 56, 64)),
        "batch_moments": ((1, 32, 32, 64), (16, 56, 56, 64)),
    }
    for op, shapes in images.items():
        for batch, height, width, channels in shapes:
            yield Case(op, (batch, channels, height, width), "channels_first")
            yield Case(op, (batch, height, width, channels), "channels_last")
    yield Case("group_norm", (8, 320, 32, 32), "channels_first", "float16")
    yield Case("group_norm", (8, 32, 32, 320), "channels_last", "float16")


CASES = list(listed())
SMALL = [case for case in CASES if case.size < 1 << 18]


# The calls


def own(case, arrays):
    """fastln, into arrays that are there. moments and batch_moments make new ones, being small."""
    x, weight, bias, residual, mean, spread = arrays
    out, added, channel = case.empty(), case.empty(), case.channel
    return {
        "add_layer_norm": lambda: fastln.add_layer_norm(x, residual, weight, bias, out=out, sum_out=added),
        "add_rms_norm": lambda: fastln.add_rms_norm(x, residual, weight, out=out, sum_out=added),
        "modulation": lambda: fastln.layer_norm(x, weight, bias, weight_offset=1, out=out),
        "layer_norm": lambda: fastln.layer_norm(x, weight, bias, out=out),
        "rms_norm": lambda: fastln.rms_norm(x, weight, out=out),
        "group_norm": lambda: fastln.group_norm(x, GROUPS, weight, bias, channel_axis=channel, out=out),
        "instance_norm": lambda: fastln.instance_norm(x, weight, bias, channel_axis=channel, out=out),
        "batch_norm": lambda: fastln.batch_norm(x, mean, spread, weight, bias, axis=channel, out=out),
        "batch_moments": lambda: fastln.batch_moments(x, axis=channel),
        "moments": lambda: fastln.moments(x),
        "normalize": lambda: fastln.normalize(x, mean, spread, weight, bias, out=out),
        "ada_norm": lambda: fastln.ada_norm(x, out=out),
    }[case.op]


def numpys(case, arrays):
    x, weight, bias, residual, mean, spread = arrays
    channel = case.channel
    return {
        "add_layer_norm": lambda: formula.add_layer_norm(x, residual, weight, bias),
        "add_rms_norm": lambda: formula.add_rms_norm(x, residual, weight),
        "modulation": lambda: formula.layer_norm(x, 1 + weight, bias),
        "layer_norm": lambda: formula.layer_norm(x, weight, bias),
        "rms_norm": lambda: formula.rms_norm(x, weight),
        "group_norm": lambda: formula.group_norm(x, GROUPS, weight, bias, channel_axis=channel),
        "instance_norm": lambda: formula.instance_norm(x, weight, bias, channel_axis=channel),
        "batch_norm": lambda: formula.batch_norm(x, mean, spread, weight, bias, axis=channel),
        "batch_moments": lambda: formula.batch_moments(x, axis=channel),
        "moments": lambda: formula.moments(x),
        "normalize": lambda: formula.normalize(x, mean, spread, weight, bias),
        "ada_norm": lambda: formula.ada_norm(x),
    }[case.op]


def torchs(torch, case, tensors):
    """PyTorch's functions, on tensors in the form that they like best. None: it has no function for that."""
    x, weight, bias, residual, mean, spread = tensors
    F, length, dims = torch.nn.functional, x.shape[-1:], [i for i in range(x.ndim) if i != case.channel % x.ndim]
    images = x.movedim(case.channel, 1)  # channels last is a memory format of the same shape

    def back(y):
        return y.movedim(1, case.channel)

    def add_layer_norm():
        s = x + residual
        return F.layer_norm(s, length, weight, bias), s

    def add_rms_norm():
        s = x + residual
        return F.rms_norm(s, length, weight, 1e-6), s

    def heads():  # of q and k, its functions know no weights of each
        if case.op == "layer_norm":
            return torch.addcmul(bias, F.layer_norm(x, length), weight)
        return F.rms_norm(x, length, weight, 1e-6) if case.form == "q" else F.rms_norm(x, length, None, 1e-6) * weight

    return {
        "add_layer_norm": add_layer_norm,
        "add_rms_norm": add_rms_norm,
        "modulation": lambda: torch.addcmul(bias, F.layer_norm(x, length), 1 + weight),
        "layer_norm": heads,
        "rms_norm": heads,
        "group_norm": lambda: back(F.group_norm(images, GROUPS, weight, bias)),
        "instance_norm": lambda: back(F.instance_norm(images, weight=weight, bias=bias)),
        "batch_norm": lambda: back(F.batch_norm(images, mean, spread, weight, bias)),
        "batch_moments": lambda: torch.var_mean(x, dims, correction=0)[::-1],
        "moments": lambda: torch.var_mean(x, -1, correction=0)[::-1],
    }.get(case.op)


def copy(case, arrays):
    """Of the bytes that must move: of a fused sum two arrays. moments only read, so they may take less than this."""
    pairs = [(case.empty(), arrays.x)]
    if case.op.startswith("add_"):
        pairs.append((case.empty(), arrays.residual))

    def call():
        for target, source in pairs:
            np.copyto(target, source)

    return call


# What is timed, once it is right


def own_contenders(case, arrays):
    return [
        Contender("fastln", own(case, arrays), joined),
        Contender("copy", copy(case, arrays)),
        Contender("NumPy", numpys(case, arrays), joined),
    ]


class PyTorch(peers.PyTorch):
    def prepare(self, case, arrays):
        narrow = case.dtype in HALF  # its functions want parameters of that type, then
        tensors = [self.tensor(a.astype(arrays.x.dtype) if narrow else a) for a in arrays]
        call = torchs(self.torch, case, tensors)
        return call and Contender(self.name, call, self.joined)

    def joined(self, result):
        return joined([self.array(y) for y in result] if isinstance(result, tuple) else self.array(result))


# Of ONNX Runtime: the node, the parameters that it takes after x, its attributes. x has channels first.
NODES = {
    "add_layer_norm": ("SkipLayerNormalization", ("residual", "weight", "bias"), {"epsilon": 1e-5}),
    "add_rms_norm": ("SkipSimplifiedLayerNormalization", ("residual", "weight"), {"epsilon": 1e-6}),
    "group_norm": ("GroupNormalization", ("weight", "bias"), {"epsilon": 1e-5, "num_groups": GROUPS}),
    "instance_norm": ("InstanceNormalization", ("weight", "bias"), {"epsilon": 1e-5}),
    "batch_norm": ("BatchNormalization", ("weight", "bias", "mean", "spread"), {"epsilon": 1e-5}),
}


class OnnxRuntime(peers.OnnxRuntime):
    """A model of one node, bound to its buffers."""

    def prepare(self, case, arrays):
        if case.op not in NODES or case.form == "channels_last":
            return None
        names = [name for name in ("x", "residual") if name in ("x", *NODES[case.op][1])]
        outs = {name: case.empty() for name in ("y", "s")[: len(names)]}
        model = self.model(case, arrays, names).SerializeToString()
        session = self.runtime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name in names:
            binding.bind_ortvalue_input(name, self.value(getattr(arrays, name)))
        for name, out in outs.items():
            binding.bind_ortvalue_output(name, self.value(out))
        result = outs["y"] if len(outs) == 1 else tuple(outs.values())
        return Contender(self.name, lambda: session.run_with_iobinding(binding), lambda _: joined(result))

    def model(self, case, arrays, names):
        helper, (kind, parameters, attributes) = self.onnx.helper, NODES[case.op]
        dtype = helper.np_dtype_to_tensor_dtype(arrays.x.dtype)
        fused = len(names) > 1  # one of its own, whose fourth output is the sum
        node = helper.make_node(
            kind,
            ["x", *parameters],
            ["y", "", "", "s"] if fused else ["y"],
            domain="com.microsoft" if fused else "",
            **attributes,
        )
        graph = helper.make_graph(
            [node],
            "norm",
            [helper.make_tensor_value_info(name, dtype, case.shape) for name in names],
            [helper.make_tensor_value_info(name, dtype, case.shape) for name in ("y", "s")[: len(names)]],
            [
                self.onnx.numpy_helper.from_array(getattr(arrays, name).astype(arrays.x.dtype), name)
                for name in parameters
                if name not in names
            ],
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def joined(result):
    """All numbers of a result, which may be two arrays."""
    return np.concatenate([a.ravel() for a in result]) if isinstance(result, tuple | list) else result


def errors(case, arrays, contenders):
    """As _cases.errors, but of all values, by the formula in a wider type."""
    wide = np.longdouble if case.dtype == "float64" else np.float64
    exact = joined(numpys(case, Arrays(*(a.astype(wide) for a in arrays)))())
    return {c.name: error(case, c.array(c.call()), exact) for c in contenders}


def error(case, y, exact):
    if y.shape != exact.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        units = (np.abs(y - exact) / np.maximum(1, np.abs(exact))).max() / _cases.UNIT[case.dtype]
    return float("inf") if np.isnan(units) else float(units)


PEERS = (PyTorch, OnnxRuntime)
