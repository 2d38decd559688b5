"""The worst error of fastln and of the NumPy formula, in the unit of the numerics contract: 2^-23 for float32 and 2^-52
for float64, times max(1, |exact|). Prints the table of the README.

    python benchmarks/accuracy.py
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import fastln
import oracle
import vectors
from fastln import _formula as formula

LENGTHS = [2, 16, 77, 768, 1000, 4096, 65536, 1_000_003]
FAMILIES = {
    "normal": "standard normal",
    "mean_1e3": "mean 1,000 standard deviations from 0",
    "mean_1e6": "mean 1,000,000 standard deviations from 0",
    "outlier_first": "one massive outlier",
    "first_block_mean": "a beginning unlike the rest",
    "ramp": "ramp",
    "largest": "values near the largest number",
    "subnormal": "subnormal values",
}


def units(y, exact, fmt):
    """The largest error of a row, where all of it is finite."""
    with np.errstate(all="ignore"):
        error = np.abs((y.astype(np.float64) - oracle.high(exact.t)) - oracle.low(exact.t))
        error /= fmt.unit * np.maximum(1, np.abs(oracle.high(exact.t)))
    return np.inf if np.isnan(error).any() else error.max()


def worst(family, fmt, functions):
    found = [0.0] * len(functions)
    for n in LENGTHS:
        x = fmt.cast(vectors.FAMILIES[family](vectors.generator(fmt, n), n, fmt))[np.newaxis]
        moments = oracle.moments(x)
        if not moments.in_contract.all():
            continue
        eps = 0.0 if family == "subnormal" else 1e-5  # beside which they are nothing
        exact = oracle.normalize(moments, eps)
        with np.errstate(all="ignore"):
            found = [
                max(f, units(function(x, eps=eps), exact, fmt)) for f, function in zip(found, functions, strict=True)
            ]
    return found


def main():
    formats = [vectors.BY_NAME["float32"], vectors.BY_NAME["float64"]]
    print(f"| rows | {' | '.join(f'{fmt.name}, fastln | {fmt.name}, NumPy formula' for fmt in formats)} |")
    print("|---|" + "---:|" * (2 * len(formats)))
    for family, words in FAMILIES.items():
        cells = [cell for fmt in formats for cell in worst(family, fmt, (fastln.layer_norm, formula.layer_norm))]
        print(
            f"| {words} | "
            + " | ".join("NaN" if np.isinf(c) else f"{c:,.2f}" if c < 10 else f"{c:,.0f}" for c in cells)
            + " |"
        )


if __name__ == "__main__":
    main()
