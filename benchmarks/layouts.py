"""Arrays whose rows do not lie side by side in memory, against the copies that one could make instead: to rows, and
back, if out lies otherwise. One thread, weight and bias, in turns, medians; results are compared to the bit first.

    python benchmarks/layouts.py                          # the layouts that people have
    python benchmarks/layouts.py --random 200 --seed 7    # and such as nobody thought of
"""

import argparse
import math
import random
import statistics
import time

import numpy as np

import fastln

VALUES = 1 << 21  # of a random array, at most
REPEATS = 15


def listed(dtype):
    """(name, x, axes, order of out) of each"""

    def normal(*shape):
        return np.random.default_rng(1).standard_normal(shape, np.float32).astype(dtype)

    images = normal(16, 56, 56, 64)
    for order in "KC":
        yield "Fortran order, rows", np.asfortranarray(normal(1000, 768)), (1,), order
        yield "Fortran order, columns", np.asfortranarray(normal(1000, 768)), (0,), order
        yield "Fortran order, all of it", np.asfortranarray(normal(1000, 1000)), (0, 1), order
        yield "channels last, whole images", images.transpose(0, 3, 1, 2), (1, 2, 3), order
        yield "channels last, one image", images[:1].transpose(0, 3, 1, 2), (1, 2, 3), order
        yield "channels first, last axis", images.transpose(0, 2, 3, 1), (3,), order
        yield "channels first, over batch and place", normal(16, 64, 28, 28), (0, 2, 3), order
        yield "heads apart", normal(8, 512, 12, 64).transpose(0, 2, 1, 3), (1, 3), order
        yield "rows reversed", normal(2048, 768)[:, ::-1], (1,), order
        yield "every other value", normal(2048, 1536)[:, ::2], (1,), order
        yield "a window of images", normal(300, 64, 96)[:, 2:62, 3:93], (1, 2), order
        yield "pixels", normal(8, 300, 300, 3), (1, 2), order
        yield "pairs", normal(100_000, 8, 2), (1,), order
        yield "six side by side", normal(20_000, 64, 6), (1,), order
    yield "rows into Fortran order", normal(256, 16_000), (1,), "F"
    yield "one row into Fortran order", normal(1000, 1000), (0, 1), "F"


def scattered(count, seed):
    draw = random.Random(seed)
    for number in range(count):
        ndim = draw.randint(2, 4)
        sizes = [math.exp(draw.uniform(0, 1)) for _ in range(ndim)]
        power = math.log(draw.randint(10_000, VALUES)) / sum(map(math.log, sizes))
        shape = [max(1, round(size**power)) for size in sizes]
        steps = [draw.choice([1, 1, 1, 2, -1]) for _ in shape]
        dtype = draw.choice([np.float32, np.float64, np.float16])
        x = np.random.default_rng(number).standard_normal([n * abs(s) for n, s in zip(shape, steps, strict=True)])
        x = x.astype(dtype)[tuple(slice(None, None, s) for s in steps)].transpose(draw.sample(range(ndim), ndim))
        axes = tuple(sorted(draw.sample(range(ndim), draw.randint(1, ndim))))
        yield f"{x.shape} {x.dtype}, strides {x.strides}", x, axes, draw.choice("KC")


def compare(x, axes, order):
    """(the time of fastln, that of the copies), in seconds"""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    weight = np.linspace(0.5, 1.5, math.prod(x.shape[a] for a in axes), dtype=np.result_type(x.dtype, np.float32))
    weight = weight.reshape([x.shape[a] for a in axes])
    out = np.empty_like(x, order=order)
    result = np.moveaxis(out, axes, last)
    rows = result if result.flags.c_contiguous else np.empty(result.shape, x.dtype)

    def directly():
        fastln.layer_norm(x, weight, weight, axis=axes, out=out)

    def by_copies():
        np.copyto(rows, np.moveaxis(x, axes, last))
        fastln.layer_norm(rows, weight, weight, axis=last, out=rows)
        if rows is not result:
            np.copyto(result, rows)

    by_copies()
    expected = out.tobytes()
    out.fill(77)
    directly()
    assert out.tobytes() == expected, "another result"
    times = {directly: [], by_copies: []}
    for _ in range(REPEATS):
        for contender in random.sample(list(times), 2):
            begin = time.perf_counter()
            contender()
            times[contender].append(time.perf_counter() - begin)
    return [statistics.median(taken) for taken in times.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only the layouts whose names have one of these")
    parser.add_argument("--dtype", default="float32", help="of the listed ones (default: float32)")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="so many random ones instead")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    given = parser.parse_args()
    cases = scattered(given.random, given.seed) if given.random else listed(given.dtype)
    ratios = []
    with fastln.num_threads(1):
        for name, x, axes, order in cases:
            if given.words and not any(word in name for word in given.words):
                continue
            mine, copies = compare(x, axes, order)
            ratios.append(mine / copies)
            print(f"{mine / copies:6.2f}  {copies * 1e3:8.2f} ms  {name}, axes {axes}, out {order}", flush=True)
    if not ratios:
        parser.error(f"no layout has {' or '.join(map(repr, given.words))} in its name")
    over = sum(ratio > 1.05 for ratio in ratios)
    print(f"median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}, {over} of {len(ratios)} above 1.05")


if __name__ == "__main__":
    main()
