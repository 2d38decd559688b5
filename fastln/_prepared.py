"""Layers that keep their parameters, beside LayerNorm and RMSNorm, the cheapest calls there are (_core.pyx)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex, final

import numpy as np

from fastln import _core, _family
from fastln._family import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class _Parameter(NamedTuple):
    """In both precisions that are computed in, of one dimension, in memory that nobody can write to."""

    narrow: Array
    wide: Array

    @staticmethod
    def copy_of(a: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> _Parameter:
        given = _core._as_array(a, name)
        if given.ndim != 1 or (shape is not None and given.shape != shape):
            raise ValueError(f"{name}: expected shape {'(C,)' if shape is None else shape}, got {given.shape}")
        wide = given.astype(np.float64)
        with np.errstate(all="ignore"):  # it may be for float64 alone
            narrow = wide.astype(np.float32)
        return _Parameter(_core._kept(narrow), _core._kept(wide))


def _copy_of(a: ArrayLike | None, name: str, shape: tuple[int, ...] | None = None) -> _Parameter | None:
    return None if a is None else _Parameter.copy_of(a, name, shape)


def _view(parameter: _Parameter | None) -> Array | None:
    return None if parameter is None else _core._another_view(parameter.wide)


def _suited(parameter: _Parameter | None, x: Array) -> Array | None:
    """To x: then there is nothing to convert."""
    if parameter is None:
        return None
    return parameter.narrow if x.dtype.itemsize <= 4 and x.dtype.kind not in "biu" else parameter.wide


def _found(mapping: Mapping[str, Any], prefix: str, *names: str) -> Any:
    value = _core._find(mapping, prefix, names)
    if value is None:
        raise KeyError(f"{prefix}: expected a key after it, one of {', '.join(names)}")
    return value


def _check_channels(x: Array, channel: int, expected: int) -> None:
    """If there are others, that is for x, not for what the layer has had all along."""
    if x.shape[channel] != expected:
        raise ValueError(f"x: expected {expected} channels at axis {channel}, got shape {x.shape}")


@final
class GroupNorm:
    """Group normalization with parameters of its own: ``GroupNorm(num_groups, weight, bias)(x)`` is
    ``group_norm(x, num_groups, weight, bias)``. With as many groups as channels, it is instance normalization.

    Parameters
    ----------
    num_groups, weight, bias, eps, channel_axis
        As in `group_norm`. The parameters are copied.

    Raises
    ------
    TypeError, ValueError
        As in `group_norm`.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> norm = fastln.GroupNorm(2, weight=[1.0, 1.0, 2.0, 2.0], eps=0.0)
    >>> norm(np.array([[1.0, 3.0, 10.0, 30.0]]))
    array([[-1.,  1., -2.,  2.]])
    """

    __slots__ = ("_bias", "_channel_axis", "_channels", "_eps", "_num_groups", "_weight")

    def __init__(
        self,
        num_groups: SupportsIndex,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        eps: float = 1e-5,
        *,
        channel_axis: SupportsIndex = 1,
    ) -> None:
        self._weight = _copy_of(weight, "weight")
        self._bias = _copy_of(bias, "bias", None if self._weight is None else self._weight.wide.shape)
        own = self._bias if self._weight is None else self._weight
        self._channels = None if own is None else len(own.wide)  # how many x must have, if there is anything to tell
        self._num_groups = _family._as_groups(num_groups, self._channels)
        self._eps = _core._as_eps(eps)
        self._channel_axis = _core._as_index(channel_axis, "channel_axis")

    @property
    def num_groups(self) -> int:
        return self._num_groups

    @property
    def weight(self) -> Array | None:
        return _view(self._weight)

    @property
    def bias(self) -> Array | None:
        return _view(self._bias)

    @property
    def eps(self) -> float:
        return self._eps

    @property
    def channel_axis(self) -> int:
        return self._channel_axis

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        array, channel = _family._with_channels(x, self._channel_axis)
        if self._channels is None:
            _family._as_groups(self._num_groups, array.shape[channel])
        else:
            _check_channels(array, channel, self._channels)
        weight, bias = _suited(self._weight, array), _suited(self._bias, array)
        return _family._by_groups(array, channel, self._num_groups, weight, bias, self._eps, out)

    def __repr__(self) -> str:
        return f"<GroupNorm: {self.num_groups} groups, eps={self.eps}, channel_axis={self.channel_axis}>"

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("num_groups", "weight", "bias", "eps", "channel_axis")
        return _core._rebuild, (GroupNorm, {name: getattr(self, name) for name in names})

    @staticmethod
    def from_mapping(
        mapping: Mapping[str, Any],
        prefix: str,
        num_groups: SupportsIndex,
        eps: float = 1e-5,
        *,
        channel_axis: SupportsIndex = 1,
    ) -> GroupNorm:
        """With the parameters that a mapping, such as a state dict, has under ``prefix``: ``weight`` or ``gamma``, and
        ``bias`` or ``beta`` if there is one. A dot after the prefix may be left out.

        Raises
        ------
        KeyError
            If there is no weight.
        """
        weight, bias = _found(mapping, prefix, "weight", "gamma"), _core._find(mapping, prefix, ("bias", "beta"))
        return GroupNorm(num_groups, weight, bias, eps, channel_axis=channel_axis)


@final
class BatchNorm:
    """Batch normalization with statistics and parameters of its own: ``BatchNorm(mean, var, weight, bias)(x)`` is
    ``batch_norm(x, mean, var, weight, bias)``.

    Parameters
    ----------
    mean, var, weight, bias, eps, axis
        As in `batch_norm`. They are copied.

    Raises
    ------
    TypeError, ValueError
        As in `batch_norm`.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> norm = fastln.BatchNorm(mean=[0.0, 8.0], var=[1.0, 4.0], eps=0.0)
    >>> norm(np.array([[1.0, 10.0]]))
    array([[1., 1.]])
    """

    __slots__ = ("_axis", "_bias", "_eps", "_mean", "_rstd", "_var", "_weight")

    def __init__(
        self,
        mean: ArrayLike,
        var: ArrayLike,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        eps: float = 1e-5,
        *,
        axis: SupportsIndex = 1,
    ) -> None:
        self._mean = _Parameter.copy_of(mean, "mean")
        shape = self._mean.wide.shape
        self._var = _Parameter.copy_of(var, "var", shape)
        self._weight, self._bias = _copy_of(weight, "weight", shape), _copy_of(bias, "bias", shape)
        self._eps = _core._as_eps(eps)
        self._axis = _core._as_index(axis, "axis")
        self._rstd = _core._rstd(self._var.wide, self._eps)

    @property
    def mean(self) -> Array:
        return _core._another_view(self._mean.wide)

    @property
    def var(self) -> Array:
        return _core._another_view(self._var.wide)

    @property
    def weight(self) -> Array | None:
        return _view(self._weight)

    @property
    def bias(self) -> Array | None:
        return _view(self._bias)

    @property
    def eps(self) -> float:
        return self._eps

    @property
    def axis(self) -> int:
        return self._axis

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        array = _core._as_array(x, "x")
        channel = _core._as_axis(self._axis, "axis", array.ndim)
        _check_channels(array, channel, len(self._rstd))
        weight, bias = _suited(self._weight, array), _suited(self._bias, array)
        return _family._by_statistics(array, channel, self._mean.wide, self._rstd, weight, bias, out)

    def __repr__(self) -> str:
        return f"<BatchNorm: shape {self._rstd.shape}, eps={self.eps}, axis={self.axis}>"

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("mean", "var", "weight", "bias", "eps", "axis")
        return _core._rebuild, (BatchNorm, {name: getattr(self, name) for name in names})

    @staticmethod
    def from_mapping(
        mapping: Mapping[str, Any], prefix: str = "", eps: float = 1e-5, *, axis: SupportsIndex = 1
    ) -> BatchNorm:
        """With what a mapping, such as a state dict, has under ``prefix``: ``running_mean``, ``moving_mean`` or
        ``mean``; the same for ``var`` or ``variance``; and ``weight`` or ``gamma``, ``bias`` or ``beta`` if there are
        such. A dot after the prefix may be left out.

        Raises
        ------
        KeyError
            If there is no mean or no variance.
        """
        return BatchNorm(
            _found(mapping, prefix, "running_mean", "moving_mean", "mean"),
            _found(mapping, prefix, "running_var", "moving_variance", "moving_var", "variance", "var"),
            _core._find(mapping, prefix, ("weight", "gamma")),
            _core._find(mapping, prefix, ("bias", "beta")),
            eps,
            axis=axis,
        )
