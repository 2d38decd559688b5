"""Layer normalization's relatives: the axes and parameters of each, in terms of what the kernels do.

Group and instance normalization are layer normalization of a view with the groups as an axis of their own; batch
normalization applies statistics that are given. The kernels repeat a channel's weight along a row, not memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np

from fastln import _core

if TYPE_CHECKING:  # it takes its time to import
    from numpy.typing import ArrayLike

Array: TypeAlias = np.ndarray  # "of Any", which NumPy's type says in other ways from version to version
Axes: TypeAlias = SupportsIndex | Sequence[SupportsIndex]


def group_norm(
    x: ArrayLike,
    num_groups: SupportsIndex,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    channel_axis: SupportsIndex = 1,
    out: Array | None = None,
) -> Array:
    """Group normalization.

    The channels of every sample are cut into groups, and each group is normalized over its channels and all places::

        y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias

    Parameters
    ----------
    x : array_like
        (N, C, ...), or with the channels at `channel_axis`; dtypes and strides as in `layer_norm`.
    num_groups : int
        A divisor of C. 1 is layer normalization of whole samples, C is instance normalization.
    weight, bias : array_like, optional
        (C,), one for each channel.
    eps : float
        Added to the variance; finite and not negative.
    channel_axis : int
        Where the channels are: 1, or -1 for channels last. Not the first axis.
    out : ndarray, optional
        Where the result goes, as in `layer_norm`.

    Returns
    -------
    y : ndarray
        `out` if that was given. Otherwise a new array that lies in memory as x does.

    Raises
    ------
    TypeError
        If an argument is not of an accepted dtype or kind.
    ValueError
        If a shape does not fit or `num_groups` is no divisor of C.
    numpy.exceptions.AxisError
        If x has no such axis.

    References
    ----------
    .. [1] Y. Wu, K. He, "Group Normalization", 2018, arXiv:1803.08494.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> fastln.group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    array, channel = _with_channels(x, channel_axis)
    channels = array.shape[channel]
    groups = _as_groups(num_groups, channels)
    return _by_groups(array, channel, groups, weight, bias, eps, out)


def instance_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    channel_axis: SupportsIndex = 1,
    out: Array | None = None,
) -> Array:
    """Instance normalization: every channel of every sample is normalized over its places.

    Parameters
    ----------
    x, weight, bias, eps, channel_axis, out
        As in `group_norm`.

    Returns
    -------
    y : ndarray
        As of `group_norm`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `group_norm`.

    References
    ----------
    .. [1] D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance Normalization: The Missing Ingredient for Fast Stylization",
       2016, arXiv:1607.08022.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> fastln.instance_norm(np.array([[[1.0, 3.0], [5.0, 5.0]]]), weight=[1.0, 2.0], bias=[0.0, 7.0], eps=0.0)
    array([[[-1.,  1.],
            [ 7.,  7.]]])
    """
    array, channel = _with_channels(x, channel_axis)
    return _by_groups(array, channel, array.shape[channel], weight, bias, eps, out)


def batch_norm(
    x: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    *,
    axis: SupportsIndex = 1,
    out: Array | None = None,
) -> Array:
    """Batch normalization by given statistics, as at inference.

    With a number of each for every channel::

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Parameters
    ----------
    x : array_like
        Any shape but 0-d; dtypes and strides as in `layer_norm`.
    mean, var : array_like
        (C,), of any dtype that x may have; taken as float64.
    weight, bias : array_like, optional
        (C,).
    eps : float
        Added to the variance; finite and not negative.
    axis : int
        Where x has its C channels.
    out : ndarray, optional
        Where the result goes, as in `layer_norm`.

    Returns
    -------
    y : ndarray
        `out` if that was given. Otherwise a new array that lies in memory as x does.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    References
    ----------
    .. [1] S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
       Shift", 2015, arXiv:1502.03167.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> fastln.batch_norm(np.array([[1.0, 10.0]]), mean=[0.0, 8.0], var=[1.0, 4.0], eps=0.0)
    array([[1., 1.]])
    """
    array = _core._as_array(x, "x")
    channel = _core._as_axis(axis, "axis", array.ndim)
    channels = array.shape[channel]
    eps = _core._as_eps(eps)
    center = _core._statistics(mean, "mean", (channels,))
    rstd = _core._rstd(_core._statistics(var, "var", (channels,)), eps)
    return _by_statistics(array, channel, center, rstd, weight, bias, out)


def batch_moments(x: ArrayLike, *, axis: SupportsIndex = 1) -> tuple[Array, Array]:
    """Mean and variance of every channel, over all else: what batch normalization uses in training.

    Parameters
    ----------
    x : array_like
        Any shape but 0-d.
    axis : int
        Where x has its C channels.

    Returns
    -------
    mean, var : ndarray
        (C,), float64; the variance is the biased one.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> fastln.batch_moments(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 0.]))
    """
    array = _core._as_array(x, "x")
    channel = _core._as_axis(axis, "axis", array.ndim)
    view = _with_axis(array)
    return _core._moments(view, tuple(i for i in range(view.ndim) if i != channel + 1))


def update_running(
    running_mean: Array,
    running_var: Array,
    mean: ArrayLike,
    var: ArrayLike,
    count: SupportsIndex,
    *,
    momentum: float = 0.1,
    unbiased: bool = True,
) -> None:
    """Brings the running statistics of batch normalization up to date, in place::

        running = (1 - momentum) * running + momentum * new

    Parameters
    ----------
    running_mean, running_var : ndarray
        (C,), of a float dtype.
    mean, var : array_like
        (C,), as of `batch_moments`.
    count : int
        How many values they come from, for each channel.
    momentum : float
        The weight of what is new, as PyTorch defines it. ONNX's is the weight of what was there: one minus this.
    unbiased : bool
        Whether `var` is multiplied by count / (count - 1) first, as PyTorch does. ONNX does not.

    Raises
    ------
    TypeError, ValueError
        If a dtype or shape does not fit, or `count` is too small.

    Examples
    --------
    >>> import numpy as np, fastln
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> fastln.update_running(mean, var, [10.0], [6.0], 4, momentum=0.5)
    >>> mean, var
    (array([5.]), array([4.5]))
    """
    try:
        number = operator.index(count)
    except TypeError:
        raise TypeError(f"count: expected an int, got {count!r}") from None
    if number < (2 if unbiased else 1):
        raise ValueError(f"count: expected at least {2 if unbiased else 1}, got {number}")
    for a, name in ((running_mean, "running_mean"), (running_var, "running_var")):
        if not isinstance(a, np.ndarray):
            raise TypeError(f"{name}: expected a NumPy array, got {type(a).__name__}")
        if a.ndim != 1:
            raise ValueError(f"{name}: expected shape (C,), got {a.shape}")
        if not a.flags.writeable:
            raise ValueError(f"{name}: expected a writeable array, got a read-only one")
        if _core._as_array(a, name).dtype.kind in "biu":
            raise TypeError(f"{name}: expected a float dtype, got {a.dtype}")
    momentum = _as_finite(momentum, "momentum")
    shape = running_mean.shape
    if running_var.shape != shape:
        raise ValueError(f"running_var: expected shape {shape}, got {running_var.shape}")
    new_mean = _core._statistics(mean, "mean", shape)
    new_var = _core._statistics(var, "var", shape) * (number / (number - 1) if unbiased else 1)
    old_mean = _core._statistics(running_mean, "running_mean", shape)
    old_var = _core._statistics(running_var, "running_var", shape)
    with np.errstate(all="ignore"):  # both, or neither
        running_mean[...] = (1 - momentum) * old_mean + momentum * new_mean
        running_var[...] = (1 - momentum) * old_var + momentum * new_var


def moments(x: ArrayLike, *, axis: Axes = -1) -> tuple[Array, Array]:
    """Mean and variance, by the same single pass as the norms.

    Parameters
    ----------
    x : array_like
        As in `layer_norm`; bool, integers and arrays in another byte order are copied first.
    axis : int or tuple of int
        The axes that become one mean and one variance.

    Returns
    -------
    mean, var : ndarray
        float64 whatever x is, without these axes. The variance is the biased one, sum((x - mean)**2) / n.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    Notes
    -----
    As accurate as `layer_norm`, also far from zero. A NaN or an infinity makes both NaN, and so does an empty row.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", 1983.

    Examples
    --------
    >>> import fastln
    >>> fastln.moments([[1.0, 3.0], [5.0, 5.0]])
    (array([2., 5.]), array([1., 0.]))
    """
    return _core._moments(x, axis)


def merge_moments(
    counts: ArrayLike, means: ArrayLike, variances: ArrayLike, *, axis: SupportsIndex = 0
) -> tuple[Array, Array, Array]:
    """The moments of a whole from those of its pieces (Chan's formula).

    Parameters
    ----------
    counts : array_like
        How many values each piece has, 0 included: (K,) for K pieces, or with as many axes as `means`, to which it
        broadcasts.
    means, variances : array_like
        Of the pieces, along `axis`, as `moments` gives them; all further axes are independent of each other.
    axis : int
        Along which the pieces lie.

    Returns
    -------
    count, mean, var : ndarray
        float64, without that axis. Nothing at all has NaN for both.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        If a dtype, a shape or a count does not fit.

    Notes
    -----
    Deviations are taken from the mean of all, not from zero, so means far from zero cost nothing.

    Examples
    --------
    >>> import fastln
    >>> fastln.merge_moments([2, 1], [2.0, 5.0], [1.0, 0.0])
    (array(3.), array(3.), array(2.66666667))
    """
    mean, var = (
        _core._as_array(a, name).astype(np.float64) for a, name in ((means, "means"), (variances, "variances"))
    )
    if var.shape != mean.shape:
        raise ValueError(f"variances: expected shape {mean.shape}, as means, got {var.shape}")
    along = _core._as_axis(axis, "axis", mean.ndim)
    n = _core._as_array(counts, "counts").astype(np.float64)
    if n.ndim == 1 and mean.ndim > 1:  # one for each piece
        n = n.reshape([-1 if i == along else 1 for i in range(mean.ndim)])
    try:
        n = np.broadcast_to(n, mean.shape)
    except ValueError:
        raise ValueError(f"counts: expected a shape that broadcasts to {mean.shape}, got {np.shape(counts)}") from None
    if not (n >= 0).all():
        raise ValueError("counts: expected numbers >= 0, got others")
    used = n > 0
    with np.errstate(all="ignore"):
        count = n.sum(axis=along, keepdims=True)
        # About a mean that is there, so that the sum has the size of the differences.
        if mean.shape[along]:
            first = np.take_along_axis(mean, np.expand_dims(used.argmax(axis=along), along), along)
        else:
            first = np.full(count.shape, np.nan)
        middle = first + np.where(used, n * (mean - first), 0).sum(axis=along, keepdims=True) / count
        squares = np.where(used, n * (var + np.square(mean - middle)), 0).sum(axis=along, keepdims=True)
        spread = squares / count
    return np.squeeze(count, along), np.squeeze(middle, along), np.squeeze(spread, along)


def normalize(
    x: ArrayLike,
    mean: ArrayLike | None,
    rstd: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    axis: Axes = -1,
    out: Array | None = None,
) -> Array:
    """Normalization by given statistics::

        y = (x - mean) * rstd * weight + bias

    Parameters
    ----------
    x, weight, bias, axis, out
        As in `layer_norm`.
    mean, rstd : array_like
        Of x's shape without the normalized axes, as `layer_norm` returns them, or `moments`, which has the mean in
        float64, as values far from zero need it. mean may be None: then nothing is subtracted.

    Returns
    -------
    y : ndarray
        `out` if that was given. Otherwise a new array that lies in memory as x does.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    Notes
    -----
    A NaN or an infinity in x stays where it is. A NaN in the statistics makes the whole row NaN, as does an infinite
    mean; an infinite rstd, as rows without spread have, gives `bias` where x is the mean, and infinities elsewhere.

    Examples
    --------
    >>> import fastln
    >>> fastln.normalize([[1.0, 3.0]], mean=[2.0], rstd=[0.5])
    array([[-0.5,  0.5]])
    """
    return _core._normalize(x, mean, rstd, weight, bias, axis, out)


def ada_norm(
    x: ArrayLike,
    c: SupportsFloat = 1.0,
    k: SupportsFloat = 0.1,
    eps: float = 1e-5,
    *,
    axis: Axes = -1,
    out: Array | None = None,
) -> Array:
    """AdaNorm: layer normalization that scales a value by what it is::

        t = (x - mean(x)) / sqrt(var(x) + eps)
        y = c * (1 - k * t) * t

    Parameters
    ----------
    x, eps, axis, out
        As in `layer_norm`. Without parameters, that is what the paper [1]_ calls LayerNorm-simple.
    c, k : float
        Finite numbers. The paper chooses c by the task, and k = 1/10.

    Returns
    -------
    y : ndarray
        `out` if that was given. Otherwise a new array that lies in memory as x does.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `layer_norm`.

    References
    ----------
    .. [1] J. Xu, X. Sun, Z. Zhang, G. Zhao, J. Lin, "Understanding and Improving Layer Normalization", 2019,
       arXiv:1911.07013.

    Examples
    --------
    >>> import fastln
    >>> fastln.ada_norm([[1.0, 3.0]], c=2.0, k=0.25, eps=0.0)
    array([[-2.5,  1.5]])
    """
    outer, slope = _as_finite(c, "c"), _as_finite(k, "k")
    return _core._ada(x, -outer * slope, outer, eps, axis, out)


# --- Axes and parameters


def _with_channels(x: ArrayLike, channel_axis: SupportsIndex) -> tuple[Array, int]:
    """x, and the number of its axis of channels, which is not the first."""
    array = _core._as_array(x, "x")
    if array.ndim < 2:
        raise ValueError(f"x: expected at least 2 dimensions, got shape {array.shape}")
    channel = _core._as_axis(channel_axis, "channel_axis", array.ndim)
    if channel == 0:
        raise ValueError(f"channel_axis: expected another axis than the first, that of the samples, got {channel_axis}")
    return array, channel


def _with_axis(x: Array) -> Array:
    """x and one axis more, which NumPy must have room for."""
    try:
        return x[np.newaxis]
    except (IndexError, ValueError):
        raise ValueError(f"x: expected at most {x.ndim - 1} dimensions, got {x.ndim}") from None


def _as_groups(num_groups: SupportsIndex, channels: int | None) -> int:
    """channels: None if they are not known yet."""
    try:
        groups = operator.index(num_groups)
    except TypeError:
        raise TypeError(f"num_groups: expected an int, got {num_groups!r}") from None
    if groups < 1 or (channels is not None and channels % groups):
        what = "at least 1" if channels is None else f"a divisor of the {channels} channels"
        raise ValueError(f"num_groups: expected {what}, got {groups}")
    return groups


def _as_finite(value: SupportsFloat, name: str) -> float:
    number = _core._as_number(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return number


def _by_statistics(
    x: Array,
    channel: int,
    mean: Array,
    rstd: Array,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    out: Array | None,
) -> Array:
    """Batch normalization; mean and rstd in float64, C-contiguous."""
    channels = x.shape[channel]
    if out is not None:
        _core._check_out(out, x)
    shape = [1] * (x.ndim + 1)
    shape[channel + 1] = channels
    # The places of a channel are a row. With the channels last they are side by side instead, for all samples at once.
    last = channel == x.ndim - 1
    y = _core._given(
        _with_axis(x),  # so that there is one besides that of the channels
        mean,
        rstd,
        shape,
        _core._per_channel(weight, "weight", channels, shape),
        _core._per_channel(bias, "bias", channels, shape),
        tuple(range(channel + 1)) if last else tuple(range(channel + 2, x.ndim + 1)),
        None if out is None else np.asarray(out)[None],
        True,
    )
    return y[0] if out is None else out


def _by_groups(
    x: Array, channel: int, groups: int, weight: ArrayLike | None, bias: ArrayLike | None, eps: float, out: Array | None
) -> Array:
    """Layer normalization of a view of x that has the axes (groups, channels of a group) in place of the channels'."""
    channels = x.shape[channel]
    if out is not None:
        _core._check_out(out, x)
    shape = [*x.shape[:channel], groups, channels // max(groups, 1), *x.shape[channel + 1 :]]
    own = [1] * len(shape)
    own[channel : channel + 2] = shape[channel : channel + 2]
    wide = x.dtype.kind in "biu" or x.dtype.itemsize > 4
    if 1 < channel == x.ndim - 1 and groups < channels and x.size and not wide:
        return _by_columns(x, groups, weight, bias, eps, out)
    _with_axis(x)
    y = _core._by_channel(
        x.reshape(shape),
        _core._per_channel(weight, "weight", channels, own),
        _core._per_channel(bias, "bias", channels, own),
        eps,
        tuple(i for i in range(1, len(shape)) if i != channel),
        None if out is None else np.asarray(out).reshape(shape),
    )
    return y.reshape(x.shape) if out is None else out


def _by_columns(
    x: Array, groups: int, weight: ArrayLike | None, bias: ArrayLike | None, eps: float, out: Array | None
) -> Array:
    """The same for channels last, if float64 is the wider type: there the values of a group lie in short pieces. So the
    moments of every channel come first, and become those of the groups; then all is normalized by these."""
    samples, channels = x.shape[0], x.shape[-1]
    number = _core._as_eps(eps)
    shape = [1] * (x.ndim - 1) + [channels]
    weight = _core._per_channel(weight, "weight", channels, shape)
    bias = _core._per_channel(bias, "bias", channels, shape)
    places = tuple(range(1, x.ndim - 1))
    shape[0] = samples
    mean, rstd = _core._merge_channels(*_core._moments(x, places), channels // groups, number)
    return _core._given(x, mean, rstd, shape, weight, bias, places, out, True)
