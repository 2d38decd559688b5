"""What a NumPy user writes without fastln: the yardstick of `python -m fastln bench` and of benchmarks/."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, axis: int = -1
) -> Array:
    y = affine(standardized(widened(x), eps, axis), weight, bias, axis)
    return y.astype(x.dtype, copy=False)


def rms_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-6, axis: int = -1
) -> Array:
    wide = widened(x)
    y = affine(wide / np.sqrt(np.square(wide).mean(axis=axis, keepdims=True) + eps), weight, bias, axis)
    return y.astype(x.dtype, copy=False)


def add_layer_norm(
    x: Array, residual: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> tuple[Array, Array]:
    s = widened(x) + residual
    return layer_norm(s, weight, bias, eps).astype(x.dtype, copy=False), s.astype(x.dtype, copy=False)


def add_rms_norm(x: Array, residual: Array, weight: Array | None = None, eps: float = 1e-6) -> tuple[Array, Array]:
    s = widened(x) + residual
    return rms_norm(s, weight, eps=eps).astype(x.dtype, copy=False), s.astype(x.dtype, copy=False)


def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    channel_axis: int = 1,
) -> Array:
    channel = channel_axis % x.ndim
    groups = widened(x).reshape(*x.shape[:channel], num_groups, -1, *x.shape[channel + 1 :])
    y = standardized(groups, eps, tuple(i for i in range(1, groups.ndim) if i != channel))
    return affine(y.reshape(x.shape), weight, bias, channel).astype(x.dtype, copy=False)


def instance_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, channel_axis: int = 1
) -> Array:
    places = tuple(i for i in range(1, x.ndim) if i != channel_axis % x.ndim)
    y = affine(standardized(widened(x), eps, places), weight, bias, channel_axis)
    return y.astype(x.dtype, copy=False)


def batch_norm(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    axis: int = 1,
) -> Array:
    y = (widened(x) - aligned(mean, x.ndim, axis)) / aligned(np.sqrt(var + eps), x.ndim, axis)
    return affine(y, weight, bias, axis).astype(x.dtype, copy=False)


def batch_moments(x: Array, axis: int = 1) -> tuple[Array, Array]:
    return moments(x, tuple(i for i in range(x.ndim) if i != axis % x.ndim))


def moments(x: Array, axis: int | tuple[int, ...] = -1) -> tuple[Array, Array]:
    wide = widened(x)
    return wide.mean(axis=axis), wide.var(axis=axis)


def normalize(
    x: Array, mean: Array, rstd: Array, weight: Array | None = None, bias: Array | None = None, axis: int = -1
) -> Array:
    y = (widened(x) - np.expand_dims(mean, axis)) * np.expand_dims(rstd, axis)
    return affine(y, weight, bias, axis).astype(x.dtype, copy=False)


def ada_norm(x: Array, c: float = 1.0, k: float = 0.1, eps: float = 1e-5, axis: int = -1) -> Array:
    t = standardized(widened(x), eps, axis)
    y: Array = c * (1 - k * t) * t
    return y.astype(x.dtype, copy=False)


# What they share


def widened(x: Array) -> Array:
    """Half types as float32: in their own arithmetic NumPy is slower, and in bfloat16 the sums stop growing at 256."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def standardized(x: Array, eps: float, axis: int | tuple[int, ...]) -> Array:
    mean = x.mean(axis=axis, keepdims=True)
    var = x.var(axis=axis, keepdims=True)
    y: Array = (x - mean) / np.sqrt(var + eps)
    return y


def affine(y: Array, weight: Array | None, bias: Array | None, axis: int) -> Array:
    if weight is not None:
        y = y * aligned(weight, y.ndim, axis)
    return y if bias is None else y + aligned(bias, y.ndim, axis)


def aligned(a: Array, ndim: int, axis: int) -> Array:
    """As it broadcasts to what has so many axes; already does, if it has as many itself."""
    if a.ndim == ndim:
        return a
    shape = [1] * ndim
    shape[axis] = -1
    return a.reshape(shape)
