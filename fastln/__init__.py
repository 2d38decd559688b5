"""Layer normalization for NumPy arrays on the CPU.

>>> import numpy as np, fastln
>>> fastln.layer_norm(np.array([[1.0, 3.0]]), eps=0.0)
array([[-1.,  1.]])
"""

__version__ = "0.1.0"

try:
    from fastln._core import (
        LayerNorm,
        RMSNorm,
        get_num_threads,
        layer_norm,
        num_threads,
        rms_norm,
        set_num_threads,
    )
except ModuleNotFoundError as _error:
    if _error.name != "fastln._core":
        raise
    raise ImportError(
        f"fastln was imported from {__path__[0]!r}, which has no compiled modules; it looks like the source code. "
        "Install it ('python -m pip install .') and run Python from another folder."
    ) from None

from fastln import kernels, rnn
from fastln._config import show_config

__all__ = [
    "LayerNorm",
    "RMSNorm",
    "__version__",
    "get_num_threads",
    "kernels",
    "layer_norm",
    "num_threads",
    "rms_norm",
    "rnn",
    "set_num_threads",
    "show_config",
]
