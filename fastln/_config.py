from __future__ import annotations

from typing import Any, Literal, overload

import fastln
from fastln import _core


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, dict[str, Any]]: ...
def show_config(mode: str = "stdout") -> dict[str, dict[str, Any]] | None:
    """What this build has, what this processor supports, and what is in use.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print it, or return it as nested dictionaries.

    Raises
    ------
    ValueError
        If `mode` is another.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode: expected 'stdout' or 'dicts', got {mode!r}")
    build = _core._build()
    isas = _core._isas()
    config: dict[str, dict[str, Any]] = {
        "Build": {"version": fastln.__version__, "compiler": build["compiler"]},
        "SIMD": {
            "compiled": [name for name, compiled, _ in isas if compiled],
            "supported": [name for name, _, supported in isas if supported],
            "active": _core._active_isa(),
        },
        "Threads": {"runtime": build["openmp"], "number": _core.get_num_threads()},
    }
    if mode == "dicts":
        return config
    show(config)
    return None


def show(config: dict[str, dict[str, Any]]) -> None:
    for title, entries in config.items():
        print(f"{title}:")
        for name, value in entries.items():
            print(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
