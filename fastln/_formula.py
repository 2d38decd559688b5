"""What a NumPy user writes without fastln: the yardstick of `python -m fastln bench` and of benchmarks/."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, axis: int = -1
) -> Array:
    wide = widened(x)
    mean = wide.mean(axis=axis, keepdims=True)
    var = wide.var(axis=axis, keepdims=True)
    y = affine((wide - mean) / np.sqrt(var + eps), weight, bias, axis)
    return y.astype(x.dtype, copy=False)


def rms_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-6, axis: int = -1
) -> Array:
    wide = widened(x)
    y = affine(wide / np.sqrt(np.square(wide).mean(axis=axis, keepdims=True) + eps), weight, bias, axis)
    return y.astype(x.dtype, copy=False)


def widened(x: Array) -> Array:
    """Half types as float32: in their own arithmetic NumPy is slower, and in bfloat16 the sums stop growing at 256."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def affine(y: Array, weight: Array | None, bias: Array | None, axis: int) -> Array:
    shape = [1] * y.ndim
    shape[axis] = -1
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)
