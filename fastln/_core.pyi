from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, SupportsIndex, TypeAlias, final, overload, type_check_only

import numpy as np
from numpy.typing import ArrayLike, NDArray

__pyx_capi__: dict[str, object]

_Real: TypeAlias = float | np.floating[Any] | np.integer[Any]
_Bool: TypeAlias = bool | np.bool_
_Axes: TypeAlias = SupportsIndex | Sequence[SupportsIndex]

@overload
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: _Real = 1e-5,
    *,
    axis: _Axes = -1,
    out: NDArray[Any] | None = None,
    return_stats: Literal[False] = False,
    subtract_mean: _Bool = True,
    weight_offset: _Real = 0.0,
) -> NDArray[Any]: ...
@overload
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: _Real = 1e-5,
    *,
    axis: _Axes = -1,
    out: NDArray[Any] | None = None,
    return_stats: Literal[True],
    subtract_mean: _Bool = True,
    weight_offset: _Real = 0.0,
) -> tuple[NDArray[Any], NDArray[np.floating[Any]], NDArray[np.floating[Any]]]: ...
@overload
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: _Real = 1e-5,
    *,
    axis: _Axes = -1,
    out: NDArray[Any] | None = None,
    return_stats: _Bool,
    subtract_mean: _Bool = True,
    weight_offset: _Real = 0.0,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.floating[Any]], NDArray[np.floating[Any]]]: ...
@overload
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: _Real = 1e-6,
    *,
    axis: _Axes = -1,
    out: NDArray[Any] | None = None,
    return_stats: Literal[False] = False,
    weight_offset: _Real = 0.0,
) -> NDArray[Any]: ...
@overload
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: _Real = 1e-6,
    *,
    axis: _Axes = -1,
    out: NDArray[Any] | None = None,
    return_stats: Literal[True],
    weight_offset: _Real = 0.0,
) -> tuple[NDArray[Any], NDArray[np.floating[Any]]]: ...
@overload
def rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: _Real = 1e-6,
    *,
    axis: _Axes = -1,
    out: NDArray[Any] | None = None,
    return_stats: _Bool,
    weight_offset: _Real = 0.0,
) -> NDArray[Any] | tuple[NDArray[Any], NDArray[np.floating[Any]]]: ...
def add_layer_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: _Real = 1e-5,
    *,
    weight_offset: _Real = 0.0,
    out: NDArray[Any] | None = None,
    sum_out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]: ...
def add_rms_norm(
    x: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    eps: _Real = 1e-6,
    *,
    weight_offset: _Real = 0.0,
    out: NDArray[Any] | None = None,
    sum_out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]: ...

@type_check_only
class _Norm:
    def __call__(self, x: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
    @property
    def weight(self) -> NDArray[np.float64] | None: ...
    @property
    def eps(self) -> float: ...
    @property
    def axis(self) -> int | tuple[int, ...]: ...

@final
class LayerNorm(_Norm):
    def __init__(
        self,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        eps: _Real = 1e-5,
        *,
        axis: _Axes = -1,
    ) -> None: ...
    @property
    def bias(self) -> NDArray[np.float64] | None: ...
    @staticmethod
    def from_mapping(
        mapping: Mapping[str, Any],
        prefix: str = "",
        eps: _Real = 1e-5,
        *,
        axis: _Axes = -1,
    ) -> LayerNorm: ...

@final
class RMSNorm(_Norm):
    def __init__(
        self,
        weight: ArrayLike | None = None,
        eps: _Real = 1e-6,
        *,
        axis: _Axes = -1,
        weight_offset: _Real = 0.0,
    ) -> None: ...
    @staticmethod
    def from_mapping(
        mapping: Mapping[str, Any],
        prefix: str = "",
        eps: _Real = 1e-6,
        *,
        axis: _Axes = -1,
        weight_offset: _Real = 0.0,
    ) -> RMSNorm: ...

def get_num_threads() -> int: ...
def set_num_threads(n: SupportsIndex) -> None: ...

class num_threads:
    def __init__(self, n: SupportsIndex) -> None: ...
    def __enter__(self) -> num_threads: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

def _moments(x: ArrayLike, axis: _Axes) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def _by_channel(
    x: NDArray[Any],
    weight: NDArray[Any] | None,
    bias: NDArray[Any] | None,
    eps: _Real,
    axis: _Axes,
    out: NDArray[Any] | None,
) -> NDArray[Any]: ...
def _ada(
    x: ArrayLike, weight: float, bias: float, eps: _Real, axis: _Axes, out: NDArray[Any] | None
) -> NDArray[Any]: ...
def _given(
    x: NDArray[Any],
    mean: NDArray[np.float64] | None,
    rstd: NDArray[np.float64],
    shape: Sequence[int],
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    axis: _Axes,
    out: NDArray[Any] | None,
    by_channel: bool,
) -> NDArray[Any]: ...
def _normalize(
    x: ArrayLike,
    mean: ArrayLike | None,
    rstd: ArrayLike,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    axis: _Axes,
    out: NDArray[Any] | None,
) -> NDArray[Any]: ...
def _rstd(var: NDArray[np.float64], eps: float) -> NDArray[np.float64]: ...
def _merge_channels(
    means: NDArray[np.float64], variances: NDArray[np.float64], together: int, eps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def _as_array(a: ArrayLike, name: str) -> NDArray[Any]: ...
def _as_index(axis: SupportsIndex, name: str) -> int: ...
def _as_axis(axis: SupportsIndex, name: str, ndim: int) -> int: ...
def _another_view(a: NDArray[Any]) -> NDArray[Any]: ...
def _kept(a: NDArray[Any]) -> NDArray[Any]: ...
def _per_channel(a: ArrayLike | None, name: str, channels: int, shape: list[int]) -> NDArray[Any] | None: ...
def _statistics(a: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]: ...
def _find(mapping: Mapping[str, Any], prefix: str, names: tuple[str, ...]) -> Any: ...
def _as_eps(eps: _Real) -> float: ...
def _as_number(value: object, name: str) -> float: ...
def _check_out(out: object, x: NDArray[Any]) -> None: ...
def _rebuild(cls: type[Any], keywords: dict[str, Any]) -> Any: ...
def _isas() -> list[tuple[str, bool, bool]]: ...
def _active_isa() -> str: ...
def _select_isa(name: str) -> None: ...
def _build() -> dict[str, str]: ...
