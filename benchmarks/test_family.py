"""The family beside NumPy's formulas, by pytest-benchmark, on arrays that the second cache holds.

python -m pytest benchmarks/test_family.py --benchmark-group-by=group --benchmark-columns=median,iqr,rounds
"""

import family_cases
import pytest

import fastln
from fastln import _cases


@pytest.mark.parametrize("library", ["fastln", "NumPy"])
@pytest.mark.parametrize("case", family_cases.SMALL, ids=lambda case: case.label.replace(" ", "-"))
def test_family(benchmark, case, library):
    arrays = case.arrays()
    contenders = family_cases.own_contenders(case, arrays)
    _cases.checked_errors(case, arrays, contenders, family_cases.errors)
    [contender] = [c for c in contenders if c.name == library]
    benchmark(contender.call)
    benchmark.group = case.label
    benchmark.extra_info["isa"] = fastln.show_config("dicts")["SIMD"]["active"]
