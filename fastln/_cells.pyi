from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

def real(a: object, name: str) -> tuple[NDArray[Any], np.dtype[Any]]: ...
def copy_state(state: object, name: str, batch: int, hidden: int, dtype: np.dtype[Any]) -> NDArray[Any]: ...
def check_eps(eps: object) -> float: ...

@final
class Cell:
    def __init__(
        self,
        kind: str,
        dtype: np.dtype[Any],
        weight_ih: NDArray[Any],
        weight_hh: NDArray[Any],
        norms: Sequence[tuple[int, int, NDArray[Any] | None, NDArray[Any] | None]],
        eps: float,
        weight: NDArray[Any] | None = None,
        bias: NDArray[Any] | None = None,
        inner_weight: NDArray[Any] | None = None,
        inner_bias: NDArray[Any] | None = None,
    ) -> None: ...
    def run(
        self,
        x: NDArray[Any],
        h: NDArray[Any],
        c: NDArray[Any] | None,
        y: NDArray[Any],
        lengths: NDArray[np.intp] | None,
    ) -> None: ...
