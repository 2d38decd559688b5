"""The timing core of `python -m fastln bench` and of benchmarks/compare.py.

A time alone says little: clocks, caches and neighbours change it by half. So contenders are timed in turns in one
process, in a new order every round, and compared by their medians. `import fastln` does not import this module.
"""

from __future__ import annotations

import gc
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLE = 200e-6  # seconds: what is shorter is called several times per sample
FEWEST_ROUNDS = 7
MOST_ROUNDS = 2000


class Contender(NamedTuple):
    """`call` does what is timed. `array` makes an array of what it returned, outside the time."""

    name: str
    call: Callable[[], Any]
    array: Callable[[Any], NDArray[Any]] = np.asarray


class Timing(NamedTuple):
    """Seconds per call: the median, and what 10 and 90 of 100 samples stay below."""

    median: float
    p10: float
    p90: float
    samples: int


def measure(contenders: Sequence[Contender], budget: float) -> list[Timing]:
    """Times all of them in turns for about `budget` seconds, longer where that would leave too few rounds.

    Before each sample its contender is called once untimed, so that it finds the caches as it left them itself. What
    the loop takes around a call (tens of nanoseconds) is measured like a contender and taken off."""
    calls = [contender.call for contender in contenders] + [lambda: None]
    order = list(range(len(calls)))
    samples: list[list[float]] = [[] for _ in calls]
    shuffle = random.Random(0).shuffle
    with no_garbage_collection():
        repeats = [repeats_of(call) for call in calls]
        end = perf_counter() + budget
        for rounds in range(MOST_ROUNDS):
            if rounds >= FEWEST_ROUNDS and perf_counter() >= end:
                break
            shuffle(order)
            for i in order:
                calls[i]()
                samples[i].append(seconds(calls[i], repeats[i]) / repeats[i])
    loop = float(np.median(samples.pop()))
    return [timing(np.asarray(times) - loop) for times in samples]


def timing(times: NDArray[Any]) -> Timing:
    p10, median, p90 = np.percentile(np.maximum(times, 0), [10, 50, 90])
    return Timing(float(median), float(p10), float(p90), len(times))


def seconds(call: Callable[[], Any], repeats: int) -> float:
    turns = itertools.repeat(None, repeats)
    begin = perf_counter()
    for _ in turns:
        call()
    return perf_counter() - begin


def repeats_of(call: Callable[[], Any]) -> int:
    """So many that a sample is long beside the clock's resolution."""
    repeats = 1
    while seconds(call, repeats) < SAMPLE:
        repeats *= 2
    return repeats


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
