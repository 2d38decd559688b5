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
        add_layer_norm,
        add_rms_norm,
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
from fastln._family import (
    ada_norm,
    batch_moments,
    batch_norm,
    group_norm,
    instance_norm,
    merge_moments,
    moments,
    normalize,
    update_running,
)
from fastln._prepared import BatchNorm, GroupNorm

__all__ = [
    "BatchNorm",
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
    "__version__",
    "ada_norm",
    "add_layer_norm",
    "add_rms_norm",
    "batch_moments",
    "batch_norm",
    "get_num_threads",
    "group_norm",
    "instance_norm",
    "kernels",
    "layer_norm",
    "merge_moments",
    "moments",
    "normalize",
    "num_threads",
    "rms_norm",
    "rnn",
    "set_num_threads",
    "show_config",
    "update_running",
]
