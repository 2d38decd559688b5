"""fastln.rnn against its formulas in extended precision; states, lengths, layouts, streams and bad input."""

import copy
import doctest
import importlib.util
import pickle
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastln
import recurrent
from fastln.rnn import LayerNormGRU, LayerNormLSTM, LayerNormRNN

CELLS = {
    "rnn_tanh": (LayerNormRNN, recurrent.rnn, {}),
    "rnn_relu": (LayerNormRNN, lambda *a: recurrent.rnn(*a, f=lambda v: np.maximum(v, 0)), {"nonlinearity": "relu"}),
    "lstm": (LayerNormLSTM, recurrent.lstm, {}),
    "gru": (LayerNormGRU, recurrent.gru, {}),
}
each_cell = pytest.mark.parametrize("name", CELLS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def whole(rng, *shape):
    """Small whole numbers: no sum of their products is rounded, so that only what follows the products is tested."""
    return rng.integers(-9, 10, shape).astype(np.float64)


def parameters_of(cls, hidden, inputs, seed=0, without=()):
    rng = np.random.default_rng(seed)
    vectors = {
        # Whole quarters: folding biases into one is exact.
        name: rng.integers(-8, 9, factor * hidden) / 4.0
        for name, factor in cls._vectors.items()
        if name not in without
    }
    rows = cls._gates * hidden
    return {"weight_ih": whole(rng, rows, inputs), "weight_hh": whole(rng, rows, hidden), **vectors}


def contracting(cls, hidden, inputs, seed=0):
    """Random parameters of a network that forgets: what rounding does to a step does not grow."""
    rng = np.random.default_rng(seed)
    rows = cls._gates * hidden
    vectors = {name: rng.normal(size=factor * hidden) / 2 for name, factor in cls._vectors.items()}
    weights = {name: rng.normal(size=(rows, n)) / 4 for name, n in (("weight_ih", inputs), ("weight_hh", hidden))}
    return weights | vectors


def start(cls, batch, hidden, rng=None):
    draw = np.zeros if rng is None else lambda shape: whole(rng, *shape)
    return [draw((batch, hidden)) for _ in cls._states]


def given(state):
    return state[0] if len(state) == 1 else tuple(state)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def check(result, expected, tolerance):
    y, state = result
    exact_y, exact_state = expected
    for got, exact in zip((y, *parts(state)), (exact_y, *exact_state), strict=True):
        assert got.shape == exact.shape
        error = np.abs(got.astype(recurrent.WIDE) - exact) / np.maximum(1, np.abs(exact))
        assert error.max(initial=0) <= tolerance * np.finfo(got.dtype).eps


@each_cell
@each_dtype
@pytest.mark.parametrize("hidden", [1, 2, 7, 16, 33, 100])
def test_a_step(name, dtype, hidden, isa):
    """Exact products, so what is off are the norms, two of them by up to 4 units, and what follows. The worst of many
    was 6.8."""
    cls, exact, options = CELLS[name]
    rng = np.random.default_rng(hidden)
    parameters = parameters_of(cls, hidden, 3)
    x, state = whole(rng, 1, 5, 3), start(cls, 5, hidden, rng)
    cell = cls(**parameters, **options)
    check(cell(x.astype(dtype), given(state)), recurrent.run(exact, parameters, x, state), tolerance=12)


@each_cell
@each_dtype
def test_same_bits_on_every_isa(name, dtype, isa):
    """The products are exact, whatever BLAS does."""
    cls, _, options = CELLS[name]
    for hidden in (1, 5, 16, 40):
        rng = np.random.default_rng(hidden)
        cell = cls(**parameters_of(cls, hidden, 4), **options)
        x, state = whole(rng, 1, 6, 4).astype(dtype), given(start(cls, 6, hidden, rng))
        fastln._core._select_isa("scalar")
        y, end = cell(x, state)
        fastln._core._select_isa(isa)
        got_y, got_end = cell(x, state)
        assert [a.tobytes() for a in (got_y, *parts(got_end))] == [a.tobytes() for a in (y, *parts(end))]


@each_cell
@each_dtype
def test_a_sequence(name, dtype):
    cls, exact, options = CELLS[name]
    rng = np.random.default_rng(1)
    parameters = contracting(cls, 19, 6)
    x, state = rng.normal(size=(11, 3, 6)).astype(dtype), start(cls, 3, 19, rng)
    expected = recurrent.run(exact, parameters, x, state)
    check(cls(**parameters, **options)(x, given(state)), expected, tolerance=2000)


@each_cell
def test_parameters_that_are_not_given_change_nothing(name):
    cls, exact, options = CELLS[name]
    x = np.random.default_rng(2).normal(size=(3, 2, 4))
    for without in [cls._vectors, *([vector] for vector in cls._vectors)]:
        parameters = parameters_of(cls, 5, 4, without=without)
        expected = recurrent.run(exact, parameters, x, start(cls, 2, 5))
        check(cls(**parameters, **options)(x), expected, tolerance=1e5)


@each_cell
def test_steps_are_the_sequence(name):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 20, 3), **options)
    for batch in (1, 4):
        x = np.random.default_rng(3).normal(size=(9, batch, 3))
        y, end = cell(x)
        state = None
        for x_t, y_t in zip(x, y, strict=True):
            before = pickle.dumps(state)
            h, new = cell.step(x_t, state)
            assert pickle.dumps(state) == before
            np.testing.assert_allclose(h, y_t, rtol=0, atol=1e-12)
            np.testing.assert_array_equal(h, parts(new)[0])
            state = new
        for got, expected in zip(parts(state), parts(end), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@each_cell
def test_goes_on_from_a_state(name):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 8, 3), **options)
    x = np.random.default_rng(4).normal(size=(10, 2, 3))
    y, end = cell(x)
    first, state = cell(x[:4])
    second, state = cell(x[4:], state)
    np.testing.assert_allclose(np.concatenate([first, second]), y, rtol=0, atol=1e-13)
    np.testing.assert_allclose(parts(state)[-1], parts(end)[-1], rtol=0, atol=1e-13)


@each_cell
def test_lengths(name):
    cls, exact, options = CELLS[name]
    rng = np.random.default_rng(5)
    parameters = contracting(cls, 6, 3)
    x, lengths = rng.normal(size=(7, 4, 3)), [7, 3, 0, 5]
    state = start(cls, 4, 6, rng)
    expected = recurrent.run(exact, parameters, x, state, lengths=lengths)
    for b, length in enumerate(lengths):
        x[length:, b] = np.nan  # is not looked at
    cell = cls(**parameters, **options)
    check(cell(x, given(state), lengths=lengths), expected, tolerance=2000)
    y, end = cell(x.swapaxes(0, 1), given(state), lengths=np.array(lengths, np.uint8), batch_first=True)
    check((y.swapaxes(0, 1), end), expected, tolerance=2000)


@each_cell
def test_parts_of_a_long_sequence(name):
    """More than the buffer of the input's term holds at once."""
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 64, 2), **options)
    x = np.random.default_rng(6).normal(size=(90, 70, 2))
    y, _ = cell(x)
    state = None
    for i in range(0, 90, 30):
        some, state = cell(x[i : i + 30], state)
        np.testing.assert_allclose(some, y[i : i + 30], rtol=0, atol=1e-12)


@each_cell
def test_layouts_and_dtypes(name):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 6, 4), **options)
    x = np.random.default_rng(7).integers(-3, 4, (5, 2, 4)).astype(np.float64)
    y, _ = cell(x)
    for other in (np.asfortranarray(x), x[::-1].copy()[::-1], x.astype(">f8"), x.astype(np.int8), x.tolist()):
        got, end = cell(other)
        assert got.dtype == parts(end)[0].dtype == np.float64
        np.testing.assert_array_equal(got, y)
    y, _ = cell(x.astype(np.float32))
    for half in (np.float16, pytest.importorskip("ml_dtypes").bfloat16):
        got, end = cell(x.astype(half))
        assert got.dtype == parts(end)[0].dtype == np.float32
        np.testing.assert_array_equal(got, y)


@each_cell
def test_empty(name):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 6, 4), **options)
    for steps, batch in ((0, 3), (3, 0), (0, 0)):
        y, end = cell(np.zeros((steps, batch, 4), np.float32))
        assert y.shape == (steps, batch, 6)
        assert all(part.shape == (batch, 6) and not part.any() for part in parts(end))
    assert cell.step(np.zeros((0, 4)))[0].shape == (0, 6)


@each_cell
def test_without_inputs(name):
    cls, exact, options = CELLS[name]
    parameters = contracting(cls, 6, 0)
    x, state = np.zeros((4, 2, 0)), start(cls, 2, 6, np.random.default_rng(8))
    expected = recurrent.run(exact, parameters, x, state)
    check(cls(**parameters, **options)(x, given(state)), expected, tolerance=2000)


@each_cell
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_stays_in_its_row(name, bad):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 6, 4), **options)
    x = np.random.default_rng(9).normal(size=(5, 3, 4))
    y, _ = cell(x)
    x[2, 1, 0] = bad
    with np.errstate(invalid="ignore"):
        got, _ = cell(x)
    np.testing.assert_array_equal(got[:, [0, 2]], y[:, [0, 2]])
    np.testing.assert_array_equal(got[:2], y[:2])
    assert np.isnan(got[2:, 1]).all()


@each_cell
def test_large_sums_do_not_overflow(name):
    """Their norm is as good as that of small ones: the rows go the cold way."""
    cls, exact, options = CELLS[name]
    parameters = parameters_of(cls, 6, 3)
    parameters["weight_hh"] *= 1e36
    parameters["weight_ih"] *= 1e36
    rng = np.random.default_rng(10)
    x, state = whole(rng, 1, 2, 3), start(cls, 2, 6, rng)
    single = {key: np.float32(v) for key, v in parameters.items()}
    expected = recurrent.run(exact, single, x, state)
    y, _ = cls(**single, **options)(x.astype(np.float32), given(state))
    np.testing.assert_allclose(y, expected[0].astype(float), rtol=0, atol=1e-4)


def test_a_normalized_lstm_stays_bounded():
    """Weights that saturate the plain cell: nearly all of its gates are 0 or 1. The normalized one still moves after
    100,000 steps."""
    rng = np.random.default_rng(11)
    hidden, steps = 8, 100_000
    weight_ih, weight_hh = rng.normal(size=(4 * hidden, 2)) * 1e3, rng.normal(size=(4 * hidden, hidden)) * 1e3
    x = rng.normal(size=(steps, 1, 2)).astype(np.float32)
    h, c, saturated = np.zeros((1, hidden)), np.zeros((1, hidden)), []
    for x_t in x[:200]:
        f, i, o, g = np.split(h @ weight_hh.T + x_t @ weight_ih.T, 4, axis=1)
        f, i, o = ((1 + np.tanh(gate / 2)) / 2 for gate in (f, i, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        saturated.append([abs(gate - 0.5) > 0.4999 for gate in (f, i, o)])
    assert np.mean(saturated) > 0.95
    y, (h, c) = LayerNormLSTM(weight_ih, weight_hh)(x)
    assert np.isfinite(y).all()
    assert np.isfinite(c).all()
    assert np.abs(c).max() < 100
    assert 0.3 < np.abs(y).max() < 1
    assert np.std(y[-1000:], axis=0).min() > 0.05


@each_cell
def test_nothing_is_kept_and_nothing_grows(name):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 32, 8), **options)
    x, state = np.zeros((1, 8), np.float32), cell.step(np.zeros((1, 8), np.float32))[1]
    references = sys.getrefcount(x)
    tracemalloc.start()
    try:
        for _ in range(200):
            _, state = cell.step(x, state)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            _, state = cell.step(x, state)
        assert tracemalloc.get_traced_memory()[0] - before < 2000
    finally:
        tracemalloc.stop()
    assert sys.getrefcount(x) == references


@each_cell
def test_one_cell_for_several_threads(name):
    cls, _, options = CELLS[name]
    cell = cls(**contracting(cls, 40, 8), **options)
    x = np.random.default_rng(13).normal(size=(20, 2, 8)).astype(np.float32)
    expected = cell(x)[0]
    with ThreadPoolExecutor(4) as pool:
        for y, _ in pool.map(cell, [x] * 40):
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_the_formulas_of_the_benchmark():
    path = Path(__file__).resolve().parent.parent / "benchmarks" / "rnn.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_rnn", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for name, cls in {"rnn": LayerNormRNN, "lstm": LayerNormLSTM, "gru": LayerNormGRU}.items():
        functions = benchmark.contenders(name, cls, (6, 2, 3), np, None)
        np.testing.assert_allclose(functions["NumPy"](), functions["fastln"](), rtol=0, atol=1e-5)


def test_examples_in_docstrings():
    assert doctest.testmod(fastln.rnn).failed == 0


@each_cell
def test_from_mapping(name):
    cls, _, options = CELLS[name]
    parameters = contracting(cls, 5, 3)
    cell = cls(**parameters, **options, eps=1e-3)
    x = np.random.default_rng(12).normal(size=(4, 2, 3))
    dotted = {f"net.{modules(key)}": v for key, v in parameters.items()} | {"other.weight": 1}
    for mapping, prefix in ((parameters, ""), (cell.parameters, ""), (dotted, "net"), (dotted, "net.")):
        other = cls.from_mapping(mapping, prefix, eps=1e-3, **options)
        np.testing.assert_array_equal(other(x)[0], cell(x)[0])
    with pytest.raises(KeyError, match=rf"net.norm.wait: expected parameters of {cls.__name__}"):
        cls.from_mapping(dotted | {"net.norm.wait": 1}, "net")
    with pytest.raises(KeyError, match=r"net\.weight_hh: expected this key"):
        cls.from_mapping({"net.weight_ih": 1}, "net")
    if cls is LayerNormRNN:
        with pytest.raises(KeyError, match=r"expected one key for norm_weight, got net\.norm\.weight, too"):
            cls.from_mapping(dotted | {"net.norm_weight": np.ones(5)}, "net")
    for again in (pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)):
        np.testing.assert_array_equal(again(x)[0], cell(x)[0])
        for parameter in again.parameters.values():
            with pytest.raises(ValueError, match="WRITEABLE"):
                parameter.flags.writeable = True
    assert repr(again) == repr(cell) == f"<{cls.__name__}: 3 inputs, 5 hidden, eps=0.001>"


def modules(key):
    """norm_hh_weight as norm_hh.weight, norm_hh_bias as norm_hh.beta."""
    norm, _, kind = key.rpartition("_")
    return f"{norm}.{kind.replace('bias', 'beta')}" if norm.startswith("norm") else key


def test_parameters_are_copies():
    weight = np.ones((2, 2))
    cell = LayerNormRNN(weight, weight)
    weight[:] = 7
    assert (cell.parameters["weight_hh"] == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        cell.parameters["weight_hh"][0] = 1
    with pytest.raises(TypeError):
        cell.parameters["weight_hh"] = 1


LSTM = LayerNormLSTM(np.ones((8, 3)), np.ones((8, 2)))
GRU = LayerNormGRU(np.ones((6, 3)), np.ones((6, 2)))
X = np.zeros((5, 2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GRU(np.zeros((5, 2, 4))), ValueError, r"x: expected shape \(T, B, 3\), got \(5, 2, 4\)"),
        (lambda: GRU(X[0]), ValueError, r"x: expected shape \(T, B, 3\), got \(2, 3\)"),
        (lambda: GRU(X[0], batch_first=True), ValueError, r"x: expected shape \(B, T, 3\), got \(2, 3\)"),
        (lambda: GRU(X.astype(complex)), TypeError, r"x: expected float16, .*, got complex128"),
        (lambda: GRU(np.ma.array(X)), TypeError, "got a masked array"),
        (lambda: GRU([[1], [2, 3]]), ValueError, "x: expected an array, got a list of which NumPy makes none"),
        (lambda: GRU(X, np.zeros((2, 3))), ValueError, r"state: expected shape \(2, 2\), got \(2, 3\)"),
        (lambda: LSTM(X, np.zeros((2, 2))), TypeError, r"state: expected a pair \(h, c\), got ndarray"),
        (lambda: LSTM(X, (X, X, X)), TypeError, r"state: expected a pair \(h, c\), got tuple"),
        (lambda: LSTM(X, (np.zeros((2, 2)), X)), ValueError, r"c: expected shape \(2, 2\), got \(5, 2, 3\)"),
        (lambda: GRU(X, lengths=[1]), ValueError, r"lengths: expected shape \(2,\), got \(1,\)"),
        (lambda: GRU(X, lengths=[1, 6]), ValueError, "lengths: expected 0 to 5, got 1 to 6"),
        (lambda: GRU(X, lengths=[-1, 5]), ValueError, "lengths: expected 0 to 5, got -1 to 5"),
        (lambda: GRU(X, lengths=[[1], [2, 3]]), ValueError, r"lengths: expected shape \(2,\), got what NumPy"),
        (lambda: GRU(X, lengths=[1.0, 2.0]), TypeError, "lengths: expected integers, got float64"),
        (lambda: GRU.step(X), ValueError, r"x: expected shape \(B, 3\), got \(5, 2, 3\)"),
        (lambda: GRU.step(X[0], X), ValueError, r"state: expected shape \(2, 2\), got \(5, 2, 3\)"),
        (lambda: LayerNormLSTM(X[0], X), ValueError, r"weight_hh: expected shape \(4H, H\), got \(5, 2, 3\)"),
        (lambda: LayerNormRNN(1, 1), ValueError, r"weight_hh: expected shape \(H, H\), got \(\)"),
        (lambda: LayerNormRNN(X[0], np.zeros((0, 0))), ValueError, r"weight_hh: expected shape \(H, H\), got \(0, 0\)"),
        (lambda: LayerNormGRU(X[0], np.ones((6, 2))), ValueError, r"weight_ih: expected shape \(6, I\), got \(2, 3\)"),
        (
            lambda: LayerNormLSTM(np.ones((8, 3)), np.ones((8, 2)), np.ones(2)),
            ValueError,
            r"bias: expected shape \(8,\), got \(2,\)",
        ),
        (lambda: LayerNormRNN([[1]], [[1]], "a"), TypeError, "norm_weight: expected float16"),
        (lambda: LayerNormRNN([[1]], [[1]], nonlinearity="elu"), ValueError, "expected 'tanh' or 'relu', got 'elu'"),
        (lambda: LayerNormRNN([[1]], [[1]], eps=-1), ValueError, "eps: expected a finite number >= 0, got -1"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
