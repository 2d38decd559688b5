"""Other libraries that can normalize, each as its users would call it for the greatest speed.

A peer gets its arrays once, in the form it likes best (tensors that share NumPy's memory, bound buffers, arrays of its
own); only the call is timed. `prepare` returns a Contender, or None for a case that the library has nothing for.
"""

import importlib.metadata
import importlib.util
import os

import numpy as np

from fastln._bench import Contender

EPS = {"layer_norm": 1e-5, "rms_norm": 1e-6}
NODES = {"layer_norm": ["LayerNormalization"], "rms_norm": ["RMSNormalization", "SimplifiedLayerNormalization"]}  # ONNX


class Peer:
    name: str
    packages: tuple[str, ...]

    @classmethod
    def is_installed(cls):
        return all(importlib.util.find_spec(package) for package in cls.packages)

    @classmethod
    def version(cls):
        return importlib.metadata.version(cls.packages[0])


class Numba(Peer):
    """Loops written by hand, compiled with fast-math: two walks for the statistics, one that writes."""

    name = "numba"
    packages = ("numba",)

    def __init__(self, threads):
        import numba

        numba.set_num_threads(threads)
        self.rows, self.columns = (
            numba.njit(fastmath=True, error_model="numpy", parallel=threads > 1)(loop)
            for loop in numba_loops(numba.prange)
        )

    def prepare(self, case, arrays):
        x, weight, bias = arrays
        if x.dtype not in (np.float32, np.float64):
            return None
        out = np.empty_like(x)
        n, eps = case.shape[case.axis], x.dtype.type(EPS[case.op])
        after = int(np.prod(case.shape[case.axis :][1:]))
        shape = (-1, n) if after == 1 else (-1, n, after)
        loop = self.rows if after == 1 else self.columns
        flat, flat_out, centred = x.reshape(shape), out.reshape(shape), case.op == "layer_norm"
        if not np.shares_memory(flat, x):
            return None  # a copy of what should be read in place
        return Contender(self.name, lambda: loop(flat, weight, bias, eps, centred, flat_out), lambda _: out)


def numba_loops(prange):
    def rows(x, weight, bias, eps, centred, out):
        zero, one, n = x.dtype.type(0), x.dtype.type(1), x.dtype.type(x.shape[1])
        for i in prange(x.shape[0]):
            mean = zero
            if centred:
                for j in range(x.shape[1]):
                    mean += x[i, j]
                mean /= n
            spread = zero
            for j in range(x.shape[1]):
                spread += (x[i, j] - mean) * (x[i, j] - mean)
            rstd = one / np.sqrt(spread / n + eps)
            for j in range(x.shape[1]):
                y = (x[i, j] - mean) * rstd
                if weight is not None:
                    y *= weight[j]
                if bias is not None:
                    y += bias[j]
                out[i, j] = y

    def columns(x, weight, bias, eps, centred, out):
        n = x.dtype.type(x.shape[1])
        for i in prange(x.shape[0]):
            mean = np.zeros(x.shape[2], x.dtype)
            if centred:
                for j in range(x.shape[1]):
                    for k in range(x.shape[2]):
                        mean[k] += x[i, j, k]
                mean /= n
            rstd = np.zeros(x.shape[2], x.dtype)
            for j in range(x.shape[1]):
                for k in range(x.shape[2]):
                    rstd[k] += (x[i, j, k] - mean[k]) * (x[i, j, k] - mean[k])
            for k in range(x.shape[2]):
                rstd[k] = x.dtype.type(1) / np.sqrt(rstd[k] / n + eps)
            for j in range(x.shape[1]):
                for k in range(x.shape[2]):
                    y = (x[i, j, k] - mean[k]) * rstd[k]
                    if weight is not None:
                        y *= weight[j]
                    if bias is not None:
                        y += bias[j]
                    out[i, j, k] = y

    return rows, columns


class PyTorch(Peer):
    """torch.nn.functional in inference mode, on tensors that share NumPy's memory; it always makes a new output."""

    name = "PyTorch"
    packages = ("torch",)

    def __init__(self, threads):
        import torch

        torch.set_num_threads(threads)
        torch.inference_mode().__enter__()  # once: entering it would be part of every call's time
        self.torch = torch

    def tensor(self, a):
        if a is None:
            return None
        if a.dtype.name == "bfloat16":
            return self.torch.from_numpy(a.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(a)

    def array(self, tensor):
        if tensor.dtype == self.torch.bfloat16:
            import ml_dtypes

            return tensor.view(self.torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    def prepare(self, case, arrays):
        x, weight, bias = map(self.tensor, arrays)
        if case.op == "rms_norm" and weight is not None:
            weight = weight.to(x.dtype)  # its rms_norm wants one dtype
        norm, shape, eps = self.function(case, weight, bias), (case.shape[case.axis],), EPS[case.op]
        if case.axis in (-1, x.ndim - 1):
            return Contender(self.name, lambda: norm(x, shape, weight, eps=eps), self.array)
        axis = case.axis

        def call():
            return norm(x.movedim(axis, -1), shape, weight, eps=eps).movedim(-1, axis).contiguous()

        return Contender(self.name, call, self.array)

    def function(self, case, weight, bias):
        functional = self.torch.nn.functional
        if case.op == "rms_norm":
            return functional.rms_norm
        if bias is None:
            return functional.layer_norm
        return lambda x, shape, weight, eps: functional.layer_norm(x, shape, weight, bias, eps)


class OnnxRuntime(Peer):
    """A model of one node (with a Transpose around it where the axis is not the last), bound to its buffers."""

    name = "ONNX Runtime"
    packages = ("onnxruntime", "onnx")

    def __init__(self, threads):
        import onnx
        import onnxruntime

        self.onnx, self.runtime = onnx, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 4  # kernels it does not have are no news
        # Its threads spin for a while after a run, which would be in the other contenders' time.
        self.options.add_session_config_entry("session.force_spinning_stop", "1")

    def prepare(self, case, arrays):
        session = self.session(case, arrays)
        x = np.ascontiguousarray(arrays.x)
        out = np.empty_like(x)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", self.value(x))
        binding.bind_ortvalue_output("y", self.value(out))
        run = session.run_with_iobinding
        if x is arrays.x:
            return Contender(self.name, lambda: run(binding), lambda _: out)

        def call():  # it has no strides
            np.copyto(x, arrays.x)
            run(binding)

        return Contender(self.name, call, lambda _: out)

    def value(self, a):
        make = self.runtime.OrtValue
        if a.dtype.name == "bfloat16":
            kind = self.onnx.TensorProto.BFLOAT16
            return make.ortvalue_from_numpy_with_onnx_type(a.view(np.uint16), kind)
        return make.ortvalue_from_numpy(a)

    def session(self, case, arrays):
        """With the first of the operation's nodes that this version has a kernel for."""
        failed = None
        for node in NODES[case.op]:
            try:
                model = self.model(case, arrays, node).SerializeToString()
                return self.runtime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
            except Exception as error:  # its exceptions have no common class
                failed = error
        raise failed

    def model(self, case, arrays, node):
        helper, numpy_helper = self.onnx.helper, self.onnx.numpy_helper
        kind = helper.np_dtype_to_tensor_dtype(arrays.x.dtype)
        weight = np.ones(case.shape[case.axis]) if arrays.weight is None else arrays.weight
        parameters = [numpy_helper.from_array(weight.astype(arrays.x.dtype), "weight")]
        if arrays.bias is not None:
            parameters.append(numpy_helper.from_array(arrays.bias.astype(arrays.x.dtype), "bias"))
        graph = helper.make_graph(
            self.nodes(case, node, [parameter.name for parameter in parameters]),
            "norm",
            [helper.make_tensor_value_info("x", kind, case.shape)],
            [helper.make_tensor_value_info("y", kind, case.shape)],
            parameters,
        )
        opset = 23 if node == "RMSNormalization" else 17
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)

    def nodes(self, case, node, parameters):
        make, eps, dimensions = self.onnx.helper.make_node, EPS[case.op], len(case.shape)
        axis = case.axis % dimensions
        if axis == dimensions - 1:
            return [make(node, ["x", *parameters], ["y"], axis=-1, epsilon=eps)]
        there = [i for i in range(dimensions) if i != axis] + [axis]
        return [
            make("Transpose", ["x"], ["last"], perm=there),
            make(node, ["last", *parameters], ["normalized"], axis=-1, epsilon=eps),
            make("Transpose", ["normalized"], ["y"], perm=[there.index(i) for i in range(dimensions)]),
        ]


class Jax(Peer):
    """The formula, compiled by XLA; half types compute in float32, as fastln does."""

    name = "JAX"
    packages = ("jax",)

    def __init__(self, threads):
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["NPROC"] = str(threads)  # the size of its thread pools, read when they are made
        if threads == 1:
            os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax = jax

    def prepare(self, case, arrays):
        whole = arrays.x if arrays.x.base is None else arrays.x.base  # a view is taken inside, so that XLA sees it
        put = self.jax.numpy.asarray
        x, weight, bias = (None if a is None else put(a) for a in (whole, arrays.weight, arrays.bias))
        compiled = self.jax.jit(self.function(case, arrays.x.dtype))
        return Contender(self.name, lambda: compiled(x, weight, bias).block_until_ready())

    def function(self, case, dtype):
        jnp, axis, eps = self.jax.numpy, case.axis, EPS[case.op]
        compute = jnp.float64 if dtype == np.float64 else jnp.float32
        along = [1] * len(case.shape)
        along[axis] = -1

        def norm(x, weight, bias):
            x = x[..., : case.shape[-1]].astype(compute)
            if case.op == "layer_norm":
                x = x - x.mean(axis, keepdims=True)
            y = x * self.jax.lax.rsqrt(jnp.square(x).mean(axis, keepdims=True) + eps)
            if weight is not None:
                y = y * weight.reshape(along)
            if bias is not None:
                y = y + bias.reshape(along)
            return y.astype(dtype)

        return norm


PEERS = (Numba, PyTorch, OnnxRuntime, Jax)
