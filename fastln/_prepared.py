"""Layers that keep their parameters, beside LayerNorm and RMSNorm, the cheapest calls there are (_core.pyx)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex, final

import numpy as np

from fastln import _core, _family
from fastln._family import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def _kept(a: ArrayLike | None, name: str, shape: tuple[int, ...] | None = None) -> Array | None:
    """A copy in float64 that nobody can write to, of one dimension."""
    if a is None:
        return None
    given = _core._as_array(a, name)
    if given.ndim != 1 or (shape is not None and given.shape != shape):
        raise ValueError(f"{name}: expected shape {'(C,)' if shape is None else shape}, got {given.shape}")
    return _core._kept(given.astype(np.float64))


def _found(mapping: Mapping[str, Any], prefix: str, *names: str) -> Any:
    value = _core._find(mapping, prefix, names)
    if value is None:
        raise KeyError(f"{prefix}: expected a key after it, one of {', '.join(names)}")
    return value


def _check_channels(x: Array, channel: int, expected: int) -> None:
    """If there are others, that is for x, not for what the layer has had all along."""
    if x.shape[channel] != expected:
        raise ValueError(f"x: expected {expected} channels at axis {channel}, got shape {x.shape}")


class _Fixed:
    """What is set once and stays."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            raise AttributeError(f"{type(self).__name__}.{name} is read-only: make another")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only: make another")


@final
class GroupNorm(_Fixed):
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

    def __init__(
        self,
        num_groups: SupportsIndex,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        eps: float = 1e-5,
        *,
        channel_axis: SupportsIndex = 1,
    ) -> None:
        self.weight = _kept(weight, "weight")
        self.bias = _kept(bias, "bias", None if self.weight is None else self.weight.shape)
        self.num_groups = _family._as_groups(num_groups, self._channels)
        self.eps = _core._as_eps(eps)
        self.channel_axis = _core._as_index(channel_axis, "channel_axis")

    @property
    def _channels(self) -> int | None:
        """How many x must have, if there are parameters to tell."""
        own = self.bias if self.weight is None else self.weight
        return None if own is None else len(own)

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        array, channel = _family._with_channels(x, self.channel_axis)
        if self._channels is None:
            _family._as_groups(self.num_groups, array.shape[channel])
        else:
            _check_channels(array, channel, self._channels)
        return _family._by_groups(array, channel, self.num_groups, self.weight, self.bias, self.eps, out)

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
class BatchNorm(_Fixed):
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
        center = _kept(_core._as_array(mean, "mean"), "mean")
        assert center is not None
        spread = _kept(_core._as_array(var, "var"), "var", center.shape)
        assert spread is not None
        self.mean, self.var = center, spread
        self.weight, self.bias = _kept(weight, "weight", center.shape), _kept(bias, "bias", center.shape)
        self.eps = _core._as_eps(eps)
        self.axis = _core._as_index(axis, "axis")
        self._rstd = _core._rstd(spread, self.eps)

    def __call__(self, x: ArrayLike, out: Array | None = None) -> Array:
        array = _core._as_array(x, "x")
        channel = _core._as_axis(self.axis, "axis", array.ndim)
        _check_channels(array, channel, len(self.mean))
        return _family._by_statistics(array, channel, self.mean, self._rstd, self.weight, self.bias, out)

    def __repr__(self) -> str:
        return f"<BatchNorm: shape {self.mean.shape}, eps={self.eps}, axis={self.axis}>"

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
