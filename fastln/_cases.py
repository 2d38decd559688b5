"""What `python -m fastln bench` and benchmarks/compare.py measure: calls of fastln, of a copy and of NumPy's formula on
the same arrays, how exact they are, and the form in which the results are kept.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastln
from fastln import _formula
from fastln._bench import Contender, measure
from fastln._formula import Array

DTYPES = ("float32", "float64", "float16", "bfloat16")
OPERATIONS = ("layer_norm", "rms_norm")
AFFINE = ("none", "weight", "bias", "both")
UNIT = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}

# fastln stays within 4 units before weight and bias, which may double that. A wrong kernel is wrong by thousands.
MOST_UNITS = 8
ABOUT_ERRORS = (
    "Errors in units of 2^-23 (float32), 2^-52 (float64), 2^-10 (float16) or 2^-7 (bfloat16) times max(1, |exact|)."
)
CHECKED = 1 << 20  # values of a large array whose error is looked at


class Arrays(NamedTuple):
    x: Array
    weight: Array | None
    bias: Array | None


@dataclass(frozen=True)
class Case:
    """A call to measure. `stride`: rows lie so many values apart, being parts of longer ones."""

    op: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    affine: str = "both"
    axis: int = -1
    stride: int = 0

    @property
    def label(self) -> str:
        parts = ["x".join(map(str, self.shape)), self.dtype, self.op]
        if self.affine != ("both" if self.op == "layer_norm" else "weight"):
            parts.append(f"affine={self.affine}")
        if self.axis != -1:
            parts.append(f"axis={self.axis}")
        if self.stride:
            parts.append(f"stride={self.stride}")
        return " ".join(parts)

    def arrays(self) -> Arrays:
        """Standard normal values, with parameters about as a trained network has them."""
        rng = np.random.default_rng(0)
        compute = np.dtype("float64" if self.dtype == "float64" else "float32")
        stored = (*self.shape[:-1], self.stride or self.shape[-1])
        x = rng.standard_normal(stored, dtype=compute.type).astype(numpy_dtype(self.dtype), copy=False)
        noise = 0.1 * rng.standard_normal((2, self.shape[self.axis]), dtype=compute.type)
        weight = 1 + noise[0] if self.affine in ("weight", "both") else None
        bias = noise[1].copy() if self.affine in ("bias", "both") else None
        return Arrays(x[..., : self.shape[-1]], weight, bias)


def numpy_dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        name = importlib.import_module("ml_dtypes").bfloat16
    return np.dtype(name)


def own_contenders(case: Case, arrays: Arrays) -> list[Contender]:
    """fastln and a copy, each into an array of its own, and NumPy's formula, which cannot but make new ones."""
    x, weight, bias = arrays
    out, copied, axis = np.empty_like(x), np.empty_like(x), case.axis
    formula = getattr(_formula, case.op)
    return [
        Contender("fastln", fastln_call(case, arrays, out)),
        Contender("copy", lambda: np.copyto(copied, x), lambda _: copied),
        Contender("NumPy", lambda: formula(x, weight, bias, axis=axis)),
    ]


def fastln_call(case: Case, arrays: Arrays, out: Array) -> Callable[[], Array]:
    """Written out as users write it: keywords passed on as a dictionary would take longer than a short row."""
    (x, weight, bias), axis = arrays, case.axis
    layer_norm, rms_norm = fastln.layer_norm, fastln.rms_norm
    if case.op == "layer_norm":
        if axis == -1:
            return lambda: layer_norm(x, weight, bias, out=out)
        return lambda: layer_norm(x, weight, bias, axis=axis, out=out)
    if axis == -1:
        return lambda: rms_norm(x, weight, out=out)
    return lambda: rms_norm(x, weight, axis=axis, out=out)


# What it computes


def errors(case: Case, arrays: Arrays, contenders: Sequence[Contender]) -> dict[str, float]:
    """The largest |y - exact| of each in units of 2^-23 * max(1, |exact|), 2^-23 being the distance from 1 to the next
    number of the dtype; infinite where a result is not finite or has another shape. Half types can't do better than
    0.5. Of large arrays about a million values are compared, in rows from the first to the last."""
    wide = np.longdouble if case.dtype == "float64" else np.float64
    rows = some_rows(arrays.x, case.axis).astype(wide)
    exact = getattr(_formula, case.op)(rows, arrays.weight, arrays.bias)
    unit = UNIT[case.dtype] * np.maximum(1, np.abs(exact))
    found = {}
    for contender in contenders:
        y = contender.array(contender.call())
        if y.shape != arrays.x.shape or y.dtype != arrays.x.dtype:
            found[contender.name] = float("inf")
            continue
        with np.errstate(invalid="ignore"):
            error = float((np.abs(some_rows(y, case.axis).astype(wide) - exact) / unit).max())
        found[contender.name] = float("inf") if np.isnan(error) else error
    return found


def some_rows(a: Array, axis: int) -> Array:
    a = np.moveaxis(a, axis, -1)
    if a.ndim == 1:
        return a
    number = min(len(a), max(1, CHECKED * len(a) // a.size))
    chosen: Array = a[np.linspace(0, len(a) - 1, number).astype(int)]
    return chosen


def checked_errors(
    case: Any, arrays: Any, contenders: Sequence[Contender], errors: Callable[..., dict[str, float]] = errors
) -> dict[str, float]:
    """The errors of all but the copy. Raises RuntimeError when fastln is wrong: then its speed is of no interest."""
    found = errors(case, arrays, [contender for contender in contenders if contender.name != "copy"])
    if not found["fastln"] <= MOST_UNITS:
        raise RuntimeError(f"{case.label}: fastln is off by {found['fastln']:g} units; nothing was timed")
    return found


# What is kept of it: plain dictionaries, as they are written to JSON


def result(case: Any, contenders: Sequence[Contender], error: dict[str, float], budget: float) -> dict[str, Any]:
    """Times the contenders, whose errors are known already."""
    timings = measure(contenders, budget)
    copy = next(t.median for c, t in zip(contenders, timings, strict=True) if c.name == "copy")
    return {
        "label": case.label,
        **asdict(case),
        "contenders": {
            c.name: {
                "median_us": 1e6 * t.median,
                "p10_us": 1e6 * t.p10,
                "p90_us": 1e6 * t.p90,
                "samples": t.samples,
                "to_copy": t.median / copy,
                "error": error.get(c.name, 0.0),
            }
            for c, t in zip(contenders, timings, strict=True)
        },
    }


def report(results: list[dict[str, Any]], threads: int, versions: dict[str, str] | None = None) -> dict[str, Any]:
    """All that is known of a run. versions: of other libraries."""
    own = {"fastln": fastln.__version__, "NumPy": np.__version__, "Python": platform.python_version()}
    return {
        "machine": machine(),
        "versions": own | (versions or {}),
        "threads": threads,
        "config": fastln.show_config("dicts"),
        "results": results,
    }


def machine() -> dict[str, Any]:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": processor(), "CPUs": cpus, "system": f"{platform.system()} {platform.machine()}"}


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def summary(report: dict[str, Any]) -> str:
    """Machine and versions, for the line under a table."""
    machine, threads = report["machine"], report["threads"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{machine['processor']} ({report['config']['SIMD']['active']}), {machine['CPUs']} CPUs, {machine['system']}; "
        f"{threads} thread{'s' if threads > 1 else ''}; {versions}."
    )


def time_text(microseconds: float) -> str:
    return f"{microseconds:.3g}" if microseconds < 1000 else f"{microseconds:,.0f}"


def spread_text(numbers: dict[str, Any]) -> str:
    """Where 10 and 90 of 100 samples end, relative to the median."""
    below, above = (100 * (numbers[key] / numbers["median_us"] - 1) for key in ("p10_us", "p90_us"))
    return f"{below:+.0f}% {above:+.0f}%"


def error_text(units: float) -> str:
    if units < 10:
        return f"{units:.2f}" if units < 1 else f"{units:.1f}"
    return f"{units:,.0f}" if units < 1e6 else f"{units:.0e}"
