"""fastln beside the NumPy formula, by pytest-benchmark: both operations, all affine forms, on shapes from a batch
of one to an array past the caches. Results are compared before anything is timed.

    python -m pytest benchmarks --benchmark-group-by=group --benchmark-columns=median,iqr,rounds
"""

import numpy as np
import pytest

import fastln
from fastln import _formula as formula

SHAPES = [(1, 768), (32, 384), (128, 768), (4096, 768), (64, 65536), (16384, 64)]
AXIS_1 = (8, 96, 56, 56)
AFFINE = {"plain": (False, False), "weight": (True, False), "bias": (False, True), "weight_bias": (True, True)}
TOLERANCE = {"float16": 4e-3, "float32": 2e-4, "float64": 1e-12}  # of the formula, computed in float64 and rounded


def data(shape, dtype, affine, axis=-1):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    compute = np.float64 if dtype == "float64" else np.float32
    weight, bias = rng.standard_normal((2, shape[axis])).astype(compute)
    return x, weight if AFFINE[affine][0] else None, bias if AFFINE[affine][1] else None


def run(benchmark, operation, library, shape, dtype, affine, axis=-1):
    x, weight, bias = data(shape, dtype, affine, axis)
    parameters = {"weight": weight} | ({"bias": bias} if operation == "layer_norm" else {})
    out = np.empty_like(x)
    expected = getattr(formula, operation)(x.astype(np.float64), **parameters, axis=axis)
    if library == "fastln":
        result = getattr(fastln, operation)(x, **parameters, axis=axis, out=out)
        atol = TOLERANCE[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(result.astype(np.float64), expected, rtol=0, atol=atol)
        benchmark(getattr(fastln, operation), x, **parameters, axis=axis, out=out)
    else:
        benchmark(getattr(formula, operation), x, **parameters, axis=axis)
    benchmark.group = f"{operation} {'x'.join(map(str, shape))} {dtype} {affine} axis={axis}"
    benchmark.extra_info["isa"] = fastln.show_config("dicts")["SIMD"]["active"]


CASES = [("layer_norm", affine) for affine in AFFINE] + [("rms_norm", "plain"), ("rms_norm", "weight")]


@pytest.mark.parametrize("library", ["fastln", "formula"])
@pytest.mark.parametrize(("operation", "affine"), CASES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_last_axis(benchmark, operation, shape, dtype, affine, library):
    run(benchmark, operation, library, shape, dtype, affine)


@pytest.mark.parametrize("library", ["fastln", "formula"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_channels_first(benchmark, dtype, library):
    run(benchmark, "layer_norm", library, AXIS_1, dtype, "weight_bias", axis=1)
