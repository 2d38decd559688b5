"""Recurrent networks with layer normalization, for inference: whole sequences, or step by step.

The cells are those of Ba, Kiros & Hinton 2016 [1]_: `LayerNormRNN` of its section 3.1, `LayerNormLSTM` and
`LayerNormGRU` of its supplement. B is the size of a batch, T the number of steps, I that of the inputs and H that of
the hidden state. ``LN(v; norm)`` is ``(v - mean(v)) / sqrt(var(v) + eps) * norm_weight + norm_bias`` over a whole row
of v: for the gates of an LSTM over all 4H of them.

All cells are called alike:

    y, state = cell(x)                          x (T, B, I), y (T, B, H); (B, T, I) and (B, T, H) with batch_first
    y, state = cell(x, state, lengths=lengths)  goes on from a state; row b has lengths[b] steps
    h, state = cell.step(x, state)              one step: x (B, I), h (B, H)

A state is h (B, H), or the pair (h, c) for the LSTM; without one, zeros. float16 and bfloat16 x are computed in
float32, bool and integers in float64; y and the states are of the type that was computed in, since rounding the state
at each step would make another network of it. The matrix products are NumPy's, so their speed and their last bits
depend on its BLAS; all the rest gives the same bits on every instruction set.

.. [1] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016, arXiv:1607.06450.

Examples
--------
>>> import numpy as np
>>> from fastln.rnn import LayerNormGRU
>>> cell = LayerNormGRU(np.ones((6, 3)), np.ones((6, 2)))
>>> y, state = cell(np.zeros((5, 1, 3)))
>>> y.shape, state.shape
((5, 1, 2), (1, 2))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from fastln import _cells, _core

if TYPE_CHECKING:  # numpy.typing takes long to import
    from typing import TypeAlias

    from numpy.typing import ArrayLike, NDArray

    _Array: TypeAlias = NDArray[Any]
    _Vector: TypeAlias = ArrayLike | None

__all__ = ["LayerNormGRU", "LayerNormLSTM", "LayerNormRNN"]

_Self = TypeVar("_Self", bound="_Recurrent")


class _Recurrent:
    """What the cells share: parameters, sequences and states."""

    _gates: ClassVar[int]
    _vectors: ClassVar[Mapping[str, int]]  # the length of each parameter that is a vector, in units of H
    _states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """arguments: those of the cell, by name; what has other names is not looked at."""
        weight_ih, weight_hh = arguments["weight_ih"], arguments["weight_hh"]
        hh, ih = _parameter(weight_hh, "weight_hh"), _parameter(weight_ih, "weight_ih")
        hidden = hh.shape[-1] if hh.ndim else 0
        if hh.shape != (self._gates * hidden, hidden) or not hidden:
            raise ValueError(f"weight_hh: expected shape ({_times(self._gates)}H, H), got {hh.shape}")
        if ih.ndim != 2 or len(ih) != len(hh):
            raise ValueError(f"weight_ih: expected shape ({len(hh)}, I), got {ih.shape}")
        parameters = {"weight_ih": ih, "weight_hh": hh}
        for name, length in self._vectors.items():
            if arguments[name] is not None:
                parameters[name] = _parameter(arguments[name], name)
                expected = (length * hidden,)
                if parameters[name].shape != expected:
                    raise ValueError(f"{name}: expected shape {expected}, got {parameters[name].shape}")
        self._parameters = parameters
        self._inputs, self._hidden = int(ih.shape[1]), int(hidden)
        self._eps = _cells.check_eps(arguments["eps"])
        self._cells: dict[Any, _cells.Cell] = {}

    @classmethod
    def from_mapping(cls: type[_Self], mapping: Mapping[str, ArrayLike], prefix: str = "", **options: Any) -> _Self:
        """With the parameters that a mapping, such as a state dict, has under ``prefix`` and a dot.

        Parameters
        ----------
        mapping : mapping of str to array_like
            The names are those of the parameters. Those of norms may also be written as modules have them:
            ``norm.weight`` or ``norm.gamma`` for ``norm_weight``, ``norm.bias`` or ``norm.beta`` for ``norm_bias``.
        prefix : str, optional
            What the names begin with. The dot after it may be left out.
        **options
            What is no array, such as ``eps``.

        Raises
        ------
        KeyError
            If weight_ih or weight_hh is missing, if there is a name under the prefix that no parameter has, or if there
            are two names for one.
        """
        begin = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
        names = {begin + key: name for name in ("weight_ih", "weight_hh", *cls._vectors) for key in _keys(name)}
        unknown = [key for key in mapping if key.startswith(begin) and key not in names]
        if unknown:
            raise KeyError(f"{unknown[0]}: expected parameters of {cls.__name__}, one of {', '.join(names)}")
        keys: dict[str, str] = {}
        for key in [key for key in names if key in mapping]:
            if names[key] in keys:
                raise KeyError(f"{keys[names[key]]}: expected one key for {names[key]}, got {key}, too")
            keys[names[key]] = key
        found: dict[str, Any] = {name: mapping[key] for name, key in keys.items()}
        for name in ("weight_ih", "weight_hh"):
            if name not in found:
                raise KeyError(f"{begin}{name}: expected this key, got {', '.join(mapping) or 'an empty mapping'}")
        return cls(**found, **options)

    @property
    def parameters(self) -> Mapping[str, _Array]:
        """The parameters by name, read-only: what `from_mapping` takes."""
        return MappingProxyType({name: _core._another_view(a) for name, a in self._parameters.items()})

    @property
    def input_size(self) -> int:
        """I"""
        return self._inputs

    @property
    def hidden_size(self) -> int:
        """H"""
        return self._hidden

    @property
    def eps(self) -> float:
        return self._eps

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.input_size} inputs, {self.hidden_size} hidden, eps={self.eps}>"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cells": {}}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._parameters = {name: _core._kept(a) for name, a in self._parameters.items()}  # copies can be written to

    def __call__(
        self, x: ArrayLike, state: Any = None, *, lengths: ArrayLike | None = None, batch_first: bool = False
    ) -> tuple[_Array, Any]:
        """A whole sequence.

        Parameters
        ----------
        x : array_like, (T, B, I)
            float16, bfloat16, float32, float64, bool or an integer dtype, of any strides.
        state : array_like (B, H), or a pair of them for the LSTM, optional
            From which to start, instead of zeros. It is not changed.
        lengths : array_like of int, (B,), optional
            How many steps each row has, 0 to T. Past its length a row's state stays, y is 0 and x is not looked at.
        batch_first : bool, optional
            The first two axes of x and y change places: (B, T, I) and (B, T, H).

        Returns
        -------
        y : ndarray, (T, B, H)
            h after each step; float32, or float64 for float64, bool and integers.
        state
            That after the last step, as `state`.

        Raises
        ------
        TypeError
            For dtypes that are not accepted.
        ValueError
            For shapes that do not fit, and lengths out of range.
        """
        data, dtype = _cells.real(x, "x")
        if data.ndim != 3 or data.shape[2] != self._inputs:
            expected = f"({'B, T' if batch_first else 'T, B'}, {self._inputs})"
            raise ValueError(f"x: expected shape {expected}, got {data.shape}")
        y = np.empty((*data.shape[:2], self._hidden), dtype)
        in_time, y_in_time = (data.swapaxes(0, 1), y.swapaxes(0, 1)) if batch_first else (data, y)
        steps, batch = in_time.shape[:2]
        parts = self._start(state, batch, dtype)
        limits = None if lengths is None else _lengths(lengths, batch, steps)
        self._cell(dtype).run(in_time, parts[0], parts[1] if len(parts) > 1 else None, y_in_time, limits)
        return y, parts[0] if len(parts) == 1 else tuple(parts)

    def step(self, x: ArrayLike, state: Any = None) -> tuple[_Array, Any]:
        """One step, for streams: ``h, state = cell.step(x, state)``.

        Parameters
        ----------
        x : array_like, (B, I)
            As in a call, for one moment.
        state : optional
            As in a call.

        Returns
        -------
        h : ndarray, (B, H)
            The new h, which is also that of the state.
        state
            The new state; the old one is not changed.

        Raises
        ------
        TypeError, ValueError
            As in a call.
        """
        data, dtype = _cells.real(x, "x")
        if data.ndim != 2 or data.shape[1] != self._inputs:
            raise ValueError(f"x: expected shape (B, {self._inputs}), got {data.shape}")
        parts = self._start(state, len(data), dtype)
        h = parts[0]
        self._cell(dtype).run(data[None], h, parts[1] if len(parts) > 1 else None, h[None], None)
        return h, h if len(parts) == 1 else tuple(parts)

    def _start(self, state: Any, batch: int, dtype: np.dtype[Any]) -> list[_Array]:
        """The parts of a new state, equal to the given one."""
        hidden = self._hidden
        if state is None:
            return [np.zeros((batch, hidden), dtype) for _ in self._states]
        if len(self._states) == 1:
            return [_cells.copy_state(state, "state", batch, hidden, dtype)]
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"state: expected a pair (h, c), got {type(state).__name__}")
        h, c = state
        return [_cells.copy_state(h, "h", batch, hidden, dtype), _cells.copy_state(c, "c", batch, hidden, dtype)]

    def _cell(self, dtype: np.dtype[Any]) -> _cells.Cell:
        """The parameters as the loop takes them, made once for each of the two dtypes."""
        cell = self._cells.get(dtype)
        if cell is None:
            p = self._parameters
            cell = self._cells[dtype] = _cells.Cell(
                dtype=dtype, weight_ih=p["weight_ih"], weight_hh=p["weight_hh"], eps=self._eps, **self._terms()
            )
        return cell

    def _terms(self) -> dict[str, Any]:
        """The other arguments of _cells.Cell."""
        raise NotImplementedError

    def _sum(self, *names: str) -> _Array | None:
        """Of the parameters of these names that there are."""
        given = [self._parameters[name] for name in names if name in self._parameters]
        return np.asarray(sum(np.asarray(v, np.float64) for v in given)) if given else None


class LayerNormRNN(_Recurrent):
    """The simple recurrent network with layer normalization.

    ``a = weight_hh @ h + weight_ih @ x`` and ``h = f(LN(a; norm_weight, norm_bias))``: equation 4 of [1]_, where the
    parameters of the norm are called g and b.

    Parameters
    ----------
    weight_ih : array_like, (H, I)
    weight_hh : array_like, (H, H)
    norm_weight, norm_bias : array_like, (H,), optional
        1 and 0 unless given.
    nonlinearity : {"tanh", "relu"}, optional
        f.
    eps : float, optional
        Finite and >= 0.

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes and values that are not accepted.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016, arXiv:1607.06450, section 3.1.
    """

    _gates = 1
    _vectors: ClassVar[Mapping[str, int]] = {"norm_weight": 1, "norm_bias": 1}

    def __init__(
        self,
        weight_ih: ArrayLike,
        weight_hh: ArrayLike,
        norm_weight: _Vector = None,
        norm_bias: _Vector = None,
        *,
        nonlinearity: str = "tanh",
        eps: float = 1e-5,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
        self._nonlinearity = nonlinearity
        super().__init__(locals())

    @property
    def nonlinearity(self) -> str:
        return self._nonlinearity

    def _terms(self) -> dict[str, Any]:
        p = self._parameters
        return {
            "kind": f"rnn_{self._nonlinearity}",
            "norms": (),
            "weight": p.get("norm_weight"),
            "bias": p.get("norm_bias"),
        }


class LayerNormLSTM(_Recurrent):
    """The LSTM with layer normalization: a norm for each of the two terms of the gates, and one for the cell.

    ``(f, i, o, g) = LN(weight_hh @ h; norm_hh) + LN(weight_ih @ x; norm_ih) + bias``,
    ``c = sigmoid(f) * c + sigmoid(i) * tanh(g)`` and ``h = sigmoid(o) * tanh(LN(c; norm_c))``, as in the supplement of
    [1]_. c itself is not normalized, only what h is made of.

    Parameters
    ----------
    weight_ih : array_like, (4H, I)
        By rows: H for the forget gate f, H for the input gate i, H for the output gate o, H for the candidate g.
        Everything of 4H has this order.
    weight_hh : array_like, (4H, H)
    bias : array_like, (4H,), optional
    norm_hh_weight, norm_hh_bias, norm_ih_weight, norm_ih_bias : array_like, (4H,), optional
        Of the norms of the recurrent and of the input's term; 1 and 0 unless given.
    norm_c_weight, norm_c_bias : array_like, (H,), optional
        Of the norm of the cell.
    eps : float, optional
        Finite and >= 0.

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes and values that are not accepted.

    Notes
    -----
    The gates of PyTorch are i, f, g, o: ``np.concatenate([f, i, o, g])`` after ``i, f, g, o = np.split(weight, 4)``.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016, arXiv:1607.06450, supplement.
    """

    _gates = 4
    _vectors: ClassVar[Mapping[str, int]] = {
        "bias": 4,
        "norm_hh_weight": 4,
        "norm_hh_bias": 4,
        "norm_ih_weight": 4,
        "norm_ih_bias": 4,
        "norm_c_weight": 1,
        "norm_c_bias": 1,
    }
    _states = ("h", "c")

    def __init__(
        self,
        weight_ih: ArrayLike,
        weight_hh: ArrayLike,
        bias: _Vector = None,
        *,
        norm_hh_weight: _Vector = None,
        norm_hh_bias: _Vector = None,
        norm_ih_weight: _Vector = None,
        norm_ih_bias: _Vector = None,
        norm_c_weight: _Vector = None,
        norm_c_bias: _Vector = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(locals())

    def _terms(self) -> dict[str, Any]:
        p = self._parameters
        bias = self._sum("norm_ih_bias", "norm_hh_bias", "bias")
        return {
            "kind": "lstm",
            "norms": [(0, 4 * self._hidden, p.get("norm_ih_weight"), bias)],
            "weight": p.get("norm_hh_weight"),
            "inner_weight": p.get("norm_c_weight"),
            "inner_bias": p.get("norm_c_bias"),
        }


class LayerNormGRU(_Recurrent):
    """The gated recurrent unit with layer normalization: four norms, two for the gates and two for the candidate.

    With weight_hh cut into W_h (2H, H) and U (H, H), and weight_ih into W_x (2H, I) and W (H, I),
    ``(z, r) = LN(W_h @ h; norm_hh) + LN(W_x @ x; norm_ih)``,
    ``n = tanh(LN(W @ x; norm_in) + sigmoid(r) * LN(U @ h; norm_hn))`` and
    ``h = (1 - sigmoid(z)) * h + sigmoid(z) * n``, as in the supplement of [1]_.

    Parameters
    ----------
    weight_ih : array_like, (3H, I)
        By rows: H for the update gate z, H for the reset gate r, H for the candidate n.
    weight_hh : array_like, (3H, H)
        In the same order.
    norm_hh_weight, norm_hh_bias, norm_ih_weight, norm_ih_bias : array_like, (2H,), optional
        Of the norms of the recurrent and of the input's term of z and r; 1 and 0 unless given.
    norm_hn_weight, norm_hn_bias, norm_in_weight, norm_in_bias : array_like, (H,), optional
        The same of n.
    eps : float, optional
        Finite and >= 0.

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes and values that are not accepted.

    Notes
    -----
    The gates of PyTorch are r, z, n, and its z is the paper's with the other sign: it tells how much of h stays.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", 2016, arXiv:1607.06450, supplement.
    """

    _gates = 3
    _vectors: ClassVar[Mapping[str, int]] = {
        "norm_hh_weight": 2,
        "norm_hh_bias": 2,
        "norm_ih_weight": 2,
        "norm_ih_bias": 2,
        "norm_hn_weight": 1,
        "norm_hn_bias": 1,
        "norm_in_weight": 1,
        "norm_in_bias": 1,
    }

    def __init__(
        self,
        weight_ih: ArrayLike,
        weight_hh: ArrayLike,
        *,
        norm_hh_weight: _Vector = None,
        norm_hh_bias: _Vector = None,
        norm_ih_weight: _Vector = None,
        norm_ih_bias: _Vector = None,
        norm_hn_weight: _Vector = None,
        norm_hn_bias: _Vector = None,
        norm_in_weight: _Vector = None,
        norm_in_bias: _Vector = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__(locals())

    def _terms(self) -> dict[str, Any]:
        p, hidden = self._parameters, self._hidden
        gates = (0, 2 * hidden, p.get("norm_ih_weight"), self._sum("norm_ih_bias", "norm_hh_bias"))
        return {
            "kind": "gru",
            "norms": [gates, (2 * hidden, 3 * hidden, p.get("norm_in_weight"), p.get("norm_in_bias"))],
            "weight": p.get("norm_hh_weight"),
            "inner_weight": p.get("norm_hn_weight"),
            "inner_bias": p.get("norm_hn_bias"),
        }


def _times(n: int) -> str:
    return "" if n == 1 else str(n)


def _keys(name: str) -> Iterator[str]:
    """The names that a mapping may have for a parameter."""
    yield name
    norm, _, kind = name.rpartition("_")
    if norm.startswith("norm"):
        yield from (f"{norm}.{key}" for key in {"weight": ("weight", "gamma"), "bias": ("bias", "beta")}[kind])


def _parameter(value: ArrayLike, name: str) -> _Array:
    """A read-only copy, in the dtype that is computed in."""
    data, dtype = _cells.real(value, name)
    return _core._kept(np.array(data, dtype))


def _lengths(value: ArrayLike, batch: int, steps: int) -> NDArray[np.intp]:
    try:
        lengths = np.asarray(value)
    except ValueError as why:  # such as rows of several lengths
        raise ValueError(f"lengths: expected shape {(batch,)}, got what NumPy makes no array of: {why}") from None
    if lengths.dtype.kind not in "iu" and lengths.size:
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        raise ValueError(f"lengths: expected shape {(batch,)}, got {lengths.shape}")
    if batch and (lengths.min() < 0 or lengths.max() > steps):
        raise ValueError(f"lengths: expected 0 to {steps}, got {lengths.min()} to {lengths.max()}")
    return np.array(lengths, np.intp)
