"""How long a step of each recurrent cell takes: fastln.rnn, the same in NumPy, and, where it is installed, in PyTorch.

    python benchmarks/rnn.py                    hidden 256, batch 1, 100 steps, and hidden 512, batch 64, 10 steps
    python benchmarks/rnn.py --threads 2

Contenders take turns in one process; the table has medians in microseconds a step, and how many times as long as
fastln the others take. "PyTorch, whole" multiplies the inputs of all steps at once, as fastln does; "by step" is the
cell as it is usually written, which multiplies them step by step. float32; as many inputs as hidden values."""

import argparse
import os
import statistics
import time

SHAPES = [(256, 1, 100), (512, 64, 10)]
EPS = 1e-5


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of BLAS, of fastln and of PyTorch")
    parser.add_argument("--turns", type=int, default=15)
    return parser.parse_args()


def draw_parameters(cls, hidden, np):
    rng = np.random.default_rng(0)
    rows = cls._gates * hidden
    shapes = {"weight_ih": (rows, hidden), "weight_hh": (rows, hidden)}
    shapes |= {name: (factor * hidden,) for name, factor in cls._vectors.items()}
    return {name: (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32) for name, shape in shapes.items()}


class Formulas:
    """The cells over the operations of a library: linear, layer_norm, sigmoid, tanh, split, stack."""

    def __init__(self, operations, parameters):
        self.f, self.p = operations, parameters

    def norm(self, v, name):
        return self.f.layer_norm(v, self.p[f"{name}_weight"], self.p[f"{name}_bias"])

    def rnn_input(self, x):
        return self.f.linear(x, self.p["weight_ih"])

    def rnn(self, term, state):
        (h,) = state
        return (self.f.tanh(self.norm(self.f.linear(h, self.p["weight_hh"]) + term, "norm")),)

    def lstm_input(self, x):
        return self.norm(self.f.linear(x, self.p["weight_ih"]), "norm_ih") + self.p["bias"]

    def lstm(self, term, state):
        h, c = state
        sums = self.norm(self.f.linear(h, self.p["weight_hh"]), "norm_hh") + term
        f, i, o, g = self.f.split(sums, 4)
        c = self.f.sigmoid(f) * c + self.f.sigmoid(i) * self.f.tanh(g)
        return self.f.sigmoid(o) * self.f.tanh(self.norm(c, "norm_c")), c

    def gru_input(self, x):
        z, r, n = self.f.split(self.f.linear(x, self.p["weight_ih"]), 3)
        gates = self.norm(self.f.concatenate([z, r]), "norm_ih")
        return self.f.concatenate([gates, self.norm(n, "norm_in")])

    def gru(self, term, state):
        (h,) = state
        z, r, n = self.f.split(self.f.linear(h, self.p["weight_hh"]), 3)
        z_term, r_term, n_term = self.f.split(term, 3)
        z, r = self.f.split(self.norm(self.f.concatenate([z, r]), "norm_hh"), 2)
        n = self.f.tanh(n_term + self.f.sigmoid(r + r_term) * self.norm(n, "norm_hn"))
        z = self.f.sigmoid(z + z_term)
        return ((1 - z) * h + z * n,)

    def run(self, name, x, state, *, whole):
        find, cell, outputs = getattr(self, f"{name}_input"), getattr(self, name), []
        terms = find(x) if whole else x
        for term in terms:
            state = cell(term if whole else find(term), state)
            outputs.append(state[0])
        return self.f.stack(outputs)


def numpy_operations(np):
    class Operations:
        tanh, stack = np.tanh, np.stack

        @staticmethod
        def concatenate(arrays):
            return np.concatenate(arrays, -1)

        @staticmethod
        def split(a, n):
            return np.split(a, n, -1)

        @staticmethod
        def linear(a, weight):
            return a @ weight.T

        @staticmethod
        def sigmoid(a):
            return 1 / (1 + np.exp(-a))

        @staticmethod
        def layer_norm(a, weight, bias):
            a = a - a.mean(-1, keepdims=True)
            return a / np.sqrt((a * a).mean(-1, keepdims=True) + np.float32(EPS)) * weight + bias

    return Operations


def torch_operations(torch):
    class Operations:
        linear, tanh, sigmoid, stack = torch.nn.functional.linear, torch.tanh, torch.sigmoid, torch.stack

        @staticmethod
        def concatenate(arrays):
            return torch.cat(arrays, -1)

        @staticmethod
        def split(a, n):
            return a.chunk(n, -1)

        @staticmethod
        def layer_norm(a, weight, bias):
            return torch.nn.functional.layer_norm(a, weight.shape, weight, bias, EPS)

    return Operations


def contenders(name, cls, shape, np, torch):
    """label -> function that goes through the sequence and returns y as an array."""
    hidden, batch, steps = shape
    parameters = draw_parameters(cls, hidden, np)
    x = np.random.default_rng(1).standard_normal((steps, batch, hidden)).astype(np.float32)
    states = [np.zeros((batch, hidden), np.float32) for _ in cls._states]
    cell, plain = cls(**parameters, eps=EPS), Formulas(numpy_operations(np), parameters)
    found = {"fastln": lambda: cell(x)[0], "NumPy": lambda: plain.run(name, x, states, whole=True)}
    if torch:
        tensors = {key: torch.from_numpy(value) for key, value in parameters.items()}
        formulas = Formulas(torch_operations(torch), tensors)
        inputs, start = torch.from_numpy(x), [torch.from_numpy(state) for state in states]
        found["PyTorch, whole"] = lambda: formulas.run(name, inputs, start, whole=True).numpy()
        found["PyTorch, by step"] = lambda: formulas.run(name, inputs, start, whole=False).numpy()
    return found


def measure(functions, turns):
    times = {label: [] for label in functions}
    for _ in range(turns):
        for label, function in functions.items():
            begin = time.perf_counter()
            function()
            times[label].append(time.perf_counter() - begin)
    return {label: statistics.median(values) for label, values in times.items()}


def main():
    arguments = parse()
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(arguments.threads)  # before the imports
    import numpy as np

    import fastln
    from fastln.rnn import LayerNormGRU, LayerNormLSTM, LayerNormRNN

    try:
        import torch
    except ImportError:
        torch = None
    else:
        torch.set_num_threads(arguments.threads)
        torch.inference_mode().__enter__()
    fastln.set_num_threads(arguments.threads)
    print(
        f"fastln {fastln.__version__} ({fastln._core._active_isa()}), NumPy {np.__version__}, "
        f"PyTorch {torch.__version__ if torch else 'not installed'}, {arguments.threads} threads"
    )
    for shape in SHAPES:
        hidden, batch, steps = shape
        for name, cls in {"rnn": LayerNormRNN, "lstm": LayerNormLSTM, "gru": LayerNormGRU}.items():
            functions = contenders(name, cls, shape, np, torch)
            expected = functions["fastln"]()
            for label, function in functions.items():  # also the first, slower turn
                np.testing.assert_allclose(function(), expected, rtol=0, atol=1e-3, err_msg=label)
            times = measure(functions, arguments.turns)
            print(f"{name}, hidden {hidden}, batch {batch}")
            for label, seconds in times.items():
                print(f"  {label:18} {seconds / steps * 1e6:9.1f} us a step   {seconds / times['fastln']:6.2f}")


if __name__ == "__main__":
    main()
