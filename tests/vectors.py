"""The data of the tests: number formats, families of rows that normalization code gets wrong, and the lengths at which
a vectorized loop changes its path. Everything is deterministic.

Knows nothing of fastln but the order of its lists (src/fastln.h), for the files that the C driver reads.
"""

import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class Format:
    """A number format that fastln takes, and the type that it computes in."""

    name: str
    dtype: np.dtype
    compute: np.dtype
    unit: float  # of the contract: 2^-23 or 2^-52
    pair: int  # values in a pair of strips: 8 vectors of 64 bytes of the compute type; 8 pairs are a block

    def __str__(self):
        return self.name

    @property
    def is_half(self):
        return self.dtype.itemsize == 2

    @cached_property
    def info(self):
        return ml_dtypes.finfo(self.dtype)

    max = property(lambda self: float(self.info.max))
    normal = property(lambda self: float(self.info.smallest_normal))
    smallest = property(lambda self: float(self.info.smallest_subnormal))
    spacing = property(lambda self: float(self.info.eps))
    compute_max = property(lambda self: float(np.finfo(self.compute).max))
    compute_smallest = property(lambda self: float(np.finfo(self.compute).smallest_subnormal))

    def cast(self, values):
        """Rounds to the format; finite values stay finite."""
        return np.clip(values, -self.max, self.max).astype(self.dtype)


def _format(name, compute):
    compute = np.dtype(compute)
    unit = float(np.finfo(compute).eps)
    return Format(name, np.dtype(getattr(ml_dtypes, name, name)), compute, unit, 8 * 64 // compute.itemsize)


# In the order of FASTLN_FOR_EACH_DTYPE.
FORMATS = [
    _format("float32", np.float32),
    _format("float64", np.float64),
    _format("float16", np.float32),
    _format("bfloat16", np.float32),
]
BY_NAME = {fmt.name: fmt for fmt in FORMATS}

# In the order of FASTLN_FOR_EACH_OPERATION.
OPERATIONS = ["layer_norm", "rms_norm", "normalize"]


# ----------------------------------------------------------------------------------------------------------------------
# Lengths

SHORT = list(range(1, 131))


def around_pairs(fmt, multiples=(1.5, 2, 2.5, 3, 3.5, 4, 6, 8, 9, 16, 32)):
    """Lengths around multiples of pairs, or of strips: one value and one vector less and more, and their neighbours."""
    vector = fmt.pair // 8
    steps = (-vector - 1, -vector, -1, 0, 1, vector - 1, vector, vector + 1)
    return [n for m in multiples for step in steps if (n := int(m * fmt.pair) + step) > SHORT[-1]]


PRIMES = [137, 251, 509, 769, 1021, 2039, 4093, 5003, 10007, 20011, 50021, 100003]
POWERS = [(1 << k) + step for k in range(8, 18) for step in (-1, 0, 1)]
HUGE = 1_000_003


# ----------------------------------------------------------------------------------------------------------------------
# Families: each gives n float64 values that are cast to the format afterwards

FAMILIES = {}


def family(function):
    FAMILIES[function.__name__] = function
    return function


@family
def normal(rng, n, fmt):
    return rng.standard_normal(n)


@family
def mean_1e3(rng, n, fmt):
    """1,000 standard deviations from zero; in a half type that is a few neighbouring numbers."""
    return 1000 + rng.standard_normal(n)


@family
def mean_1e6(rng, n, fmt):
    """Almost 1e6 standard deviations from zero: in float32, data a few units in the last place apart."""
    return (9e5 + rng.standard_normal(n)) / 16


@family
def mean_minus_1e6(rng, n, fmt):
    return -1e-3 * mean_1e6(rng, n, fmt)


@family
def outlier_first(rng, n, fmt):
    return _with_outlier(rng, n, fmt, 0)


@family
def outlier_middle(rng, n, fmt):
    return _with_outlier(rng, n, fmt, n // 2)


@family
def outlier_last(rng, n, fmt):
    return _with_outlier(rng, n, fmt, n - 1)


def _with_outlier(rng, n, fmt, where):
    x = rng.standard_normal(n)
    x[where] = rng.choice([-1, 1]) * min(10 ** rng.uniform(4, 30), fmt.max)
    return x


@family
def first_block_mean(rng, n, fmt):
    """The first block far from the others: a pivot or a mean taken there is of no use to them."""
    x = rng.standard_normal(n)
    x[: min(2 * fmt.pair, (n + 1) // 2)] += min(1e4, fmt.max / 8)
    return x


@family
def first_block_scale(rng, n, fmt):
    x = rng.standard_normal(n)
    x[: min(2 * fmt.pair, (n + 1) // 2)] *= min(1e6, fmt.max / 8)
    return x


@family
def last_block_scale(rng, n, fmt):
    return first_block_scale(rng, n, fmt)[::-1]


@family
def every_fourth_vector(rng, n, fmt):
    """A few values in each lane far from the others, where a mean might be taken of vectors at even distances."""
    x = rng.standard_normal(n)
    return x + 1e3 * (np.arange(n) // (fmt.pair // 8) % 4 == 0)


@family
def sample_mean(rng, n, fmt):
    """The vectors that a row is measured around far from all others: it has to be measured once more."""
    return rng.standard_normal(n) + 1e3 * _is_sampled(n, fmt)


@family
def sample_scale(rng, n, fmt):
    """The same, with a spread of their own."""
    return rng.standard_normal(n) * np.where(_is_sampled(n, fmt), 1e3, 1)


def _is_sampled(n, fmt):
    lanes = fmt.pair // 8
    k = n // lanes
    size = 2 if k < 4 else 4 if k < 32 else 8
    first = [(2 * i + 1) * k // (2 * size) for i in range(size // 2)]
    return np.isin(np.arange(n) // lanes, first + [k - 1 - i for i in first])


@family
def last_of_sixteen(rng, n, fmt):
    """Far from the others, with one sign: single values of one lane."""
    x = rng.standard_normal(n)
    x[fmt.pair // 2 :: 2 * fmt.pair] += 1e3
    return x


@family
def ramp(rng, n, fmt):
    return np.arange(n) * (min(n, fmt.max) / n)


@family
def falling(rng, n, fmt):
    return np.sort(rng.standard_normal(n))[::-1] - 7


@family
def alternating(rng, n, fmt):
    return np.where(np.arange(n) % 2, -1.0, 1.0) * rng.uniform(1, 1.001, n) * 1e3


@family
def growing(rng, n, fmt):
    """From the smallest normal number to the largest number."""
    return np.exp2(np.linspace(np.log2(fmt.normal), np.log2(fmt.max) - 0.1, n)) * rng.uniform(0.5, 0.99, n)


@family
def shrinking(rng, n, fmt):
    return -growing(rng, n, fmt)[::-1]


@family
def subnormal(rng, n, fmt):
    return rng.integers(-5, 6, n) * fmt.smallest


@family
def barely_normal(rng, n, fmt):
    return rng.uniform(-4, 4, n) * fmt.normal


@family
def largest(rng, n, fmt):
    """Sums, differences and squares all overflow."""
    return rng.choice([-1.0, 1.0], n) * rng.uniform(0.9, 1, n) * fmt.max


@family
def largest_positive(rng, n, fmt):
    return rng.uniform(0.5, 1, n) * fmt.max


@family
def largest_once(rng, n, fmt):
    x = rng.standard_normal(n)
    x[rng.integers(n)] = fmt.max
    return x


@family
def close_together(rng, n, fmt):
    """A few neighbouring numbers, or, where that is more than 1e6 standard deviations from zero, a spread of 4e-6."""
    return 1 + rng.integers(-8, 9, n) * max(fmt.spacing, 4e-7)


@family
def all_but_one(rng, n, fmt):
    x = np.full(n, 0.1)
    x[rng.integers(n)] = 0.2
    return x


@family
def two_clusters(rng, n, fmt):
    return np.where(rng.random(n) < 0.5, -3e4, 5e4) + rng.standard_normal(n)


@family
def cosine(rng, n, fmt):
    return 100 + np.cos(np.linspace(0, 1000, n))


@family
def bytes_of_an_image(rng, n, fmt):
    return rng.integers(0, 256, n).astype(np.float64)


@family
def heavy_tails(rng, n, fmt):
    return rng.standard_cauchy(n) ** 3


CONSTANTS = [0.0, -0.0, 0.1, -1 / 3, 1.0, 1e4, 65504.0, 1e-7, 1e30, -1e30, 1e-30, 1e-42, 1e-45, 3.3e38, 1e300, 1e-310]


def constants(fmt):
    """The constants that the format can hold, rounded to it; also its smallest and its largest number."""
    held = [c for c in CONSTANTS if c == 0 or fmt.smallest <= abs(c) <= fmt.max]
    return np.array([*held, fmt.smallest, -fmt.max]).astype(fmt.dtype)


def generator(fmt, n, salt=0):
    return np.random.default_rng([n, FORMATS.index(fmt), salt])


def families_of(n, count=None, salt=0):
    """The names of all families in an order that changes with n, or the first `count` of them."""
    names = list(FAMILIES)
    start = 7 * n + salt  # 7 and the number of families have no common factor: all get their turn
    return [names[(start + i) % len(names)] for i in range(count or len(names))]


def rows(fmt, n, count=None, salt=0):
    """(count, n): a row of each of families_of(n, count, salt)."""
    return (_rows if n < 5000 else _rows.__wrapped__)(fmt, n, count, salt).copy()


@lru_cache(maxsize=500)
def _rows(fmt, n, count, salt):
    families = [FAMILIES[name] for name in families_of(n, count, salt)]
    return np.stack([fmt.cast(f(generator(fmt, n, 1000 * salt + i), n, fmt)) for i, f in enumerate(families)])


@lru_cache(maxsize=500)
def parameters(fmt, n):
    """weight and bias (n,) in the compute type, with zeros, signs and large values among them; not to be written to."""
    rng = generator(fmt, n, 77)
    weight, bias = rng.standard_normal((2, n)) * np.exp2(rng.integers(-12, 12, (2, n)))
    weight[rng.random(n) < 0.1] = 0
    bias[rng.random(n) < 0.1] = 0
    return weight.astype(fmt.compute), bias.astype(fmt.compute)


AFFINE = {"plain": (False, False), "weight": (True, False), "bias": (False, True), "weight_bias": (True, True)}
EPS = [1e-5, 1e-12, 0.0]


# ----------------------------------------------------------------------------------------------------------------------
# Files for the C driver (tests/c/driver.c), one per format. For each case: a header, then x, weight and bias, then mean
# and rstd, in float64, if they are given.
#
#   13 int64  operation, dtype (in the order of src/fastln.h), layout, rows, length, affine, subtract_mean, inner, form,
#             part, part_step, parameters, moments
#   1 double  eps                                                                              (little-endian)
#
# layout: how x lies in memory, as (rows, length) or, in columns and scattered, as (length, rows); reversed has the
# values of a row backwards, permuted has them as (length / inner, inner) where the row has (inner, length / inner).
# affine: 1 if there is a weight, plus 2 if there is a bias; both have `parameters` values of the compute type, for all
# rows together if part_step is -1, or for each. The driver answers with y, of x's layout and dtype, or with moments,
# the means and then the variances in float64, case after case.

LAYOUTS = ["rows", "columns", "scattered", "reversed", "permuted"]
KINDS = ["own", "repeated", "spread", "one", "ada", "given", "moments"]  # beside plain weights and biases
C_AND_K = 1.5, 0.25  # of AdaNorm


@dataclass(frozen=True)
class Case:
    fmt: Format
    operation: str
    length: int
    layout: str
    affine: tuple
    eps: float
    subtract_mean: bool
    kind: str = "plain"
    count: int = 0  # of rows; 0: a few

    @property
    def rows(self):
        x = rows(self.fmt, self.length, self.count or (3 + self.length % 7 if self.length < 3000 else 2))
        if self.length > 1:
            x[1, self.length // 2] = np.nan if self.length % 2 else np.inf
        return x

    def arrange(self, a):
        """As such rows lie in memory."""
        if self.layout == "reversed":
            a = a[:, ::-1]
        elif self.layout == "permuted":
            a = a.reshape(len(a), self.inner, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(a.T if self.layout in ("columns", "scattered") else a)

    @property
    def inner(self):
        """The largest divisor of the length that leaves something for the other axis."""
        return next(self.length // n for n in [*range(2, 200), self.length] if self.length % n == 0)

    @property
    def parts(self):
        """form (FASTLN_EACH, _SPREAD, _ADA), part, part_step and the number of a row's parameters."""
        return {
            "plain": (0, 0, -1, self.length),
            "own": (0, 0, 0, self.length),
            "repeated": (0, self.inner, 0, self.inner),
            "spread": (1, self.inner, 1, self.length // self.inner),
            "one": (1, 0, 0, 1),
            "ada": (2, 0, 0, 1),
            "given": (0, 0, -1, self.length),
            "moments": (0, 0, -1, 0),
        }[self.kind]

    @property
    def stored(self):
        """weight and bias as the driver reads them."""
        *_, step, count = self.parts
        if self.kind == "ada":
            return tuple(
                np.full((len(self.rows), 1), p, self.fmt.compute) for p in (-C_AND_K[0] * C_AND_K[1], C_AND_K[0])
            )
        shape = (count,) if step < 0 else (len(self.rows), count)
        both = parameters(self.fmt, int(np.prod(shape)))
        return tuple(p.reshape(shape) if used else None for p, used in zip(both, self.affine, strict=True))

    def for_each_value(self, p):
        if p is None or self.kind in ("plain", "given"):
            return p
        repeated = np.tile(p, self.length // self.inner) if self.kind == "repeated" else p
        return np.repeat(repeated, self.length // repeated.shape[1], axis=1)

    @property
    def weight(self):
        return self.for_each_value(self.stored[0])

    @property
    def bias(self):
        return self.for_each_value(self.stored[1])

    @property
    def statistics(self):
        """mean and rstd, some of them extreme."""
        mean, rstd = np.linspace(-3, 1e4, len(self.rows)), np.linspace(1e-3, 7, len(self.rows))
        mean[2:3], rstd[2:3] = 1e39, 1e-39
        return mean, rstd

    def pack(self):
        x = self.rows
        header = struct.pack(
            "<13qd",
            OPERATIONS.index(self.operation),
            FORMATS.index(self.fmt),
            LAYOUTS.index(self.layout),
            len(x),
            self.length,
            self.affine[0] + 2 * self.affine[1],
            self.subtract_mean,
            self.inner,
            *self.parts,
            self.kind == "moments",
            self.eps,
        )
        arrays = [self.arrange(x), *self.stored, *(self.statistics if self.kind == "given" else ())]
        return header + b"".join(a.tobytes() for a in arrays if a is not None)


def cases(fmt):
    """The cases of a format; every combination of options comes up at many lengths."""
    lengths = [*SHORT, *around_pairs(fmt, (2, 4, 6, 8)), 768, 5000, 5003, 200_003, 200_200]
    for i, length in enumerate(lengths):
        long = length >= 5000
        layouts = ["rows"] + ["columns"] * (length < 10_000) + ["scattered"] * (i % 4 == 0 or long)
        layouts += ["reversed", "permuted"] * (i % 8 == 0 or long)
        for layout in layouts:
            for j, (form, used) in enumerate(AFFINE.items()):
                eps = EPS[(i + j) % 3]
                yield Case(fmt, "layer_norm", length, layout, used, eps, subtract_mean=(i + j) % 4 != 3)
                if "bias" not in form:
                    yield Case(fmt, "rms_norm", length, layout, used, eps, subtract_mean=False)
        kinds = KINDS if length > SHORT[-1] else [KINDS[i % len(KINDS)], KINDS[(i + 3) % len(KINDS)]]
        for j, kind in enumerate(kinds):
            layout = layouts[(i + j) % len(layouts)]
            if layout == "columns" and kind in ("own", "repeated", "spread"):
                layout = "scattered"  # columns know no parts, and no parameters of their own for each value
            used = (True, True) if kind == "ada" else (False, False) if kind == "moments" else (i % 3 != 1, i % 3 != 0)
            operation = "normalize" if kind == "given" else "layer_norm"
            eps = 0.0 if kind == "moments" else EPS[i % 3]
            yield Case(fmt, operation, length, layout, used, eps, subtract_mean=True, kind=kind)
    # As many columns as are measured together: their sums fill the memory that there is for them.
    lanes, block = fmt.pair // 8, 8 * fmt.pair
    for count, length in ((64 * lanes, block - 1), (54 * lanes, block + 63)):
        yield Case(fmt, "layer_norm", length, "columns", (True, True), 0.0, subtract_mean=True, count=count)


def write_vectors(folder):
    """FORMAT.cases in the folder, for each format. Returns the paths."""
    paths = {fmt: Path(folder) / f"{fmt}.cases" for fmt in FORMATS}
    for fmt, path in paths.items():
        with path.open("wb") as file:
            file.writelines(case.pack() for case in cases(fmt))
    return paths
