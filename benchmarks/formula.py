"""What a NumPy user writes without fastln; the yardstick of the benchmarks."""

import numpy as np


def layer_norm(x, weight=None, bias=None, eps=1e-5, axis=-1):
    mean = x.mean(axis=axis, keepdims=True)
    var = x.var(axis=axis, keepdims=True)
    return affine((x - mean) / np.sqrt(var + eps), weight, bias, axis)


def rms_norm(x, weight=None, bias=None, eps=1e-6, axis=-1):
    return affine(x / np.sqrt(np.square(x).mean(axis=axis, keepdims=True) + eps), weight, bias, axis)


def affine(y, weight, bias, axis):
    shape = [1] * y.ndim
    shape[axis] = -1
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)
