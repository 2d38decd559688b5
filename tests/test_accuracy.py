"""Every value within the bound of the numerics contract, on every instruction set.

The data of a length are rows of the families in vectors.py. A set of results is compared with the oracle once: where
another instruction set gives the same bits, and it should, these have been checked already.
"""

from functools import lru_cache

import numpy as np
import pytest

import contract
import fastln
import isas
import oracle
import vectors
from vectors import AFFINE, EPS, FORMATS

# How an operation is called: whether the values are centred for the variance, and whether they are in the result.
OPERATIONS = {"layer_norm": (True, True), "keep_mean": (True, False), "rms_norm": (False, True)}


def call(operation, x, weight, bias, eps, **options):
    if operation == "rms_norm":
        return fastln.rms_norm(x, weight, eps, **options)
    return fastln.layer_norm(x, weight, bias, eps, subtract_mean=operation == "layer_norm", **options)


def affine_forms(operation):
    return [form for form, (_, bias) in AFFINE.items() if not (bias and operation == "rms_norm")]


class Sample:
    """Rows of one length, their exact results, and the results of fastln that have been compared with those."""

    def __init__(self, fmt, n, count):
        self.fmt = fmt
        self.x, self.names = vectors.rows(fmt, n, count), vectors.families_of(n, count)
        self.weight, self.bias = vectors.parameters(fmt, n)
        self.moments, self.exact, self.checked = {}, {}, {}

    def expected(self, operation, eps):
        """The exact results, and the rows for which the contract promises something."""
        centred, subtract_mean = OPERATIONS[operation]
        if centred not in self.moments:
            self.moments[centred] = oracle.moments(self.x, centred)
        m = self.moments[centred]
        if (operation, eps) not in self.exact:
            rows = m.in_contract
            exact = oracle.normalize(m, eps, subtract_mean)
            if operation != "layer_norm":  # what is x / 0, or otherwise larger than the compute type can hold
                largest = np.abs(oracle.high(exact.t)).max(axis=1)
                rows = rows & (np.ravel(oracle.high(m.variance) + eps) > 0) & (largest <= self.fmt.compute_max)
            self.exact[operation, eps] = exact, rows
        return self.exact[operation, eps]

    def check(self, operation, eps, form, columns=False):
        """Runs it with the active instruction set. columns: the same rows along the first axis."""
        weight, bias = (p if used else None for p, used in zip((self.weight, self.bias), AFFINE[form], strict=True))
        context = f"{operation} {self.fmt} {self.x.shape} eps={eps} {form}{' columns' * columns}"
        x, axis = (np.ascontiguousarray(self.x.T), 0) if columns else (self.x, 1)
        y, *stats = call(operation, x, weight, bias, eps, axis=axis, return_stats=True)
        y = np.ascontiguousarray(y.T) if columns else y
        bits = [a.tobytes() for a in (y, *stats)]
        if self.checked.get((operation, eps, form, columns)) == bits:
            return
        exact, rows = self.expected(operation, eps)
        contract.assert_holds(y, exact.t, self.fmt, weight, bias, rows, context, self.names)
        mean = stats[0] if len(stats) == 2 else None
        contract.assert_stats_hold(mean, stats[-1], exact, self.fmt, rows, context)
        self.checked[operation, eps, form, columns] = bits


ALL = len(vectors.FAMILIES)
# Lengths with their number of rows. Rows are processed in groups: the counts leave all remainders.
LENGTHS = {
    "1..130": lambda fmt: [(n, ALL - n % 4) for n in vectors.SHORT],
    "pairs": lambda fmt: [(n, ALL // 2 if n < 600 else 4 + n % 3) for n in vectors.around_pairs(fmt)],
    "primes": lambda fmt: [(n, 11 if n < 6000 else 4) for n in vectors.PRIMES],
    "powers": lambda fmt: [(n, 9 if n < 6000 else 3) for n in vectors.POWERS],
    "1000003": lambda fmt: [(vectors.HUGE, 2)],
    "columns": lambda fmt: [(n, ALL if n < 1000 else 3 + n % 5) for n in COLUMN_LENGTHS],
}
COLUMN_LENGTHS = [*range(1, 36), 63, 64, 65, 100, 127, 128, 129, 130, 255, 256, 257, 511, 1000, 4097, 20011]


@lru_cache(maxsize=1)
def samples(fmt, group):
    return [Sample(fmt, n, count) for n, count in LENGTHS[group](fmt)]


# The uppermost changes fastest, so that a group's samples serve all operations and instruction sets before they go.
@pytest.mark.parametrize("isa", isas.supported(), indirect=True)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("group", LENGTHS)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_length(fmt, group, operation, isa):
    for i, sample in enumerate(samples(fmt, group)):
        for j, form in enumerate(affine_forms(operation)):
            sample.check(operation, EPS[(i + j) % 3], form, columns=group == "columns")


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_statistics_do_not_change_the_result(fmt, isa):
    for n in (1, 7, 64, 100, 768, 5000):
        x = vectors.rows(fmt, n)
        for operation in (fastln.layer_norm, fastln.rms_norm):
            assert operation(x).tobytes() == operation(x, return_stats=True)[0].tobytes()


@pytest.mark.parametrize("eps", EPS)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_row_without_spread_gives_bias(fmt, eps, isa):
    for n in [*range(1, 301), 1024, 5000, 65537]:
        x = np.repeat(vectors.constants(fmt)[:, None], n, axis=1)
        weight, bias = vectors.parameters(fmt, n)
        expected = np.broadcast_to(bias.astype(fmt.dtype), x.shape)
        for axis, array in ((1, x), (0, np.ascontiguousarray(x.T))):
            plain = fastln.layer_norm(array, eps=eps, axis=axis)
            y = fastln.layer_norm(array, weight, bias, eps, axis=axis)
            assert (plain == 0).all(), f"{array.shape} axis={axis}"
            np.testing.assert_array_equal(y if axis else y.T, expected, f"{array.shape} axis={axis}")


@pytest.mark.parametrize("eps", [1.0, 1e-5, 1e-12])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_row_without_spread_that_keeps_its_mean(fmt, eps, isa):
    """x / sqrt(eps), an infinity where that is too large."""
    for n in (1, 2, 5, 16, 33, 100, 1000):
        x = np.repeat(vectors.constants(fmt)[:, None], n, axis=1)
        exact = oracle.normalize(oracle.moments(x), eps, subtract_mean=False)
        for axis, array in ((1, x), (0, np.ascontiguousarray(x.T))):
            y = fastln.layer_norm(array, eps=eps, axis=axis, subtract_mean=False)
            contract.assert_holds(y if axis else np.ascontiguousarray(y.T), exact.t, fmt, context=f"{array.shape}")


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_row_without_spread_that_keeps_its_mean_without_eps(fmt, isa):
    """x / 0, but 0 where x is 0."""
    for n in (1, 5, 16, 100):
        x = np.repeat(vectors.constants(fmt)[:, None], n, axis=1)
        expected = np.where(x == 0, 0, np.copysign(np.inf, x.astype(np.float64)))
        for axis, array in ((1, x), (0, np.ascontiguousarray(x.T))):
            y = fastln.layer_norm(array, eps=0.0, axis=axis, subtract_mean=False)
            np.testing.assert_array_equal((y if axis else y.T).astype(np.float64), expected)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_huge_row_without_spread(fmt, isa):
    for value in vectors.constants(fmt)[[0, 2, -1]]:
        assert not fastln.layer_norm(np.full(vectors.HUGE, value), eps=0.0).any()


def test_tiny_values_beside_a_tiny_eps(isa):
    """Both are far below where squares underflow; what comes out of them is not."""
    y, _, rstd = fastln.layer_norm([1e-310, 2e-310], eps=1e-290, return_stats=True)
    np.testing.assert_allclose(rstd, 1e145, rtol=1e-14)
    np.testing.assert_allclose(y, [-5e-166, 5e-166], rtol=1e-12)
    y = fastln.rms_norm(np.array([[1e-305], [2e-305]]), np.array([1e200, 1e200]), eps=1e-280, axis=0)
    np.testing.assert_allclose(y, [[1e35], [2e35]], rtol=1e-14)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_weight_in_the_format_of_x(fmt, isa):
    for n in (5, 64, 100, 768, 3000):
        x = vectors.rows(fmt, n)
        weight, bias = (p.astype(fmt.dtype) for p in vectors.parameters(fmt, n))
        m = oracle.moments(x)
        y = fastln.layer_norm(x, weight, bias)
        contract.assert_holds(y, oracle.normalize(m, 1e-5).t, fmt, weight, bias, m.in_contract)


@pytest.mark.parametrize("weight_offset", [1.0, -0.3])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_weight_offset(fmt, weight_offset, isa):
    """The sum of weight and offset is rounded to the compute type, once."""
    for n in (1, 17, 100, 768):
        x = vectors.rows(fmt, n)
        weight, _ = vectors.parameters(fmt, n)
        m = oracle.moments(x, centred=False)
        y = fastln.rms_norm(x, weight, weight_offset=weight_offset)
        rounded = (weight.astype(np.float64) + weight_offset).astype(fmt.compute)
        contract.assert_holds(y, oracle.normalize(m, 1e-6).t, fmt, rounded, None)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_eps_at_every_scale(fmt, isa):
    x = np.concatenate([vectors.rows(fmt, 100), vectors.constants(fmt).repeat(100).reshape(-1, 100)])
    for centred, operation in ((True, fastln.layer_norm), (False, fastln.rms_norm)):
        m = oracle.moments(x, centred)
        for eps in (5e-324, 1e-300, 1e-290, 1e-280, 1e-275, 1e-90, 1e-45, 1e-38, 1e-30, 1.0, 1e30, 1e38, 1e60, 1e300):
            exact = oracle.normalize(m, eps)
            y, *_, rstd = operation(x, eps=eps, return_stats=True)
            contract.assert_holds(y, exact.t, fmt, rows=m.in_contract, context=f"{operation.__name__} eps={eps}")
            contract.assert_stats_hold(None, rstd, exact, fmt, m.in_contract, f"{operation.__name__} eps={eps}")


@pytest.mark.parametrize("length", [15, 49])
def test_one_of_two_values_in_every_sample(length, isa):
    """Values that stay the same over a vector, one of two in places that a sample of the vectors would take: what the
    rows were measured around was that one, and the error 5 units."""
    places = [0, 3, 7, 12] if length < 16 else [i + v for i in (0, 16, 32) for v in (0, 1, 3, 5, 7, 10, 12, 14)]
    other = np.float32([[1.686978816986084], [1.9236239194869995], [1.2], [1.7]])
    values = np.where(np.isin(np.arange(length), places), other, np.float32(0))
    x = np.repeat(np.concatenate([values, other - values]), 16, axis=1)
    exact = oracle.normalize(oracle.moments(x, True), 0.0)
    contract.assert_holds(fastln.layer_norm(x, eps=0.0), exact.t, FORMATS[0])


def test_a_cluster_that_the_lanes_agree_on(isa):
    """Half of the lanes high: what lies between lanes was that cluster, two deviations from the mean; 5 units."""
    low, high = float.fromhex("-0x1.f775377fc6a53p-2"), float.fromhex("0x1.17ac110ff9554p-1")
    x = np.array([[high if c == "b" else low for c in "bbbbaaaabbbbba"]])
    exact = oracle.normalize(oracle.moments(x, True), 0.0)
    contract.assert_holds(fastln.layer_norm(x, eps=0.0), exact.t, FORMATS[1])


@pytest.mark.parametrize(
    ("fmt", "n", "where", "value"),
    [
        (FORMATS[0], 2195, 128, "0x1.77c4d60000000p+0"),
        (FORMATS[0], 2553, 144, "0x1.78bd820000000p+0"),
        (FORMATS[1], 1029, 64, "0x1.0b910a1127368p+0"),
    ],
)
def test_equal_squares_after_a_large_one(isa, fmt, n, where, value):
    """A value in the sample, all others 0: their squares, added one by one, were rounded all alike; 4.7 units."""
    x = np.zeros((1, n), fmt.dtype)
    x[0, where] = float.fromhex(value)
    exact = oracle.normalize(oracle.moments(x, True), 0.0)
    contract.assert_holds(fastln.layer_norm(x, eps=0.0), exact.t, fmt)
