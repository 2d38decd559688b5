"""Arrays with an unreadable page right behind, or right before, them: one value too far is a crash. Not a test itself:
test_guard_pages.py runs it in a process of its own.

    python guarded.py INSTRUCTION_SET FORMAT rows|columns|apart|backwards|family
"""

import ctypes
import faulthandler
import mmap
import sys

import numpy as np

import fastln
import isas
import vectors

PROT_NONE, PROT_READ = 0, 1
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """A piece of memory between two pages that can't be touched."""

    def __init__(self, nbytes):
        page = mmap.PAGESIZE
        self.size = -(-nbytes // page) * page
        self.map = mmap.mmap(-1, self.size + 2 * page)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.protect(self.address, page, PROT_NONE)
        self.protect(self.address + page + self.size, page, PROT_NONE)
        self.bytes = np.frombuffer(self.map, np.uint8, self.size, offset=page)

    def protect(self, address, nbytes, protection):
        if libc.mprotect(address, nbytes, protection):
            raise OSError(ctypes.get_errno(), "mprotect")

    def read_only(self):
        self.protect(self.address + mmap.PAGESIZE, self.size, PROT_READ)

    def read_write(self):
        self.protect(self.address + mmap.PAGESIZE, self.size, mmap.PROT_READ | mmap.PROT_WRITE)

    def array(self, shape, dtype, at_end, gap=0, step=1):
        """At the very end of the memory or at its very beginning; `gap` values between the rows; `step` values from one
        value of a row to the next."""
        apart = abs(step)
        row = (shape[-1] * apart + gap) * dtype.itemsize
        nbytes = (shape[0] - 1) * row + ((shape[-1] - 1) * apart + 1) * dtype.itemsize if len(shape) == 2 else row
        piece = self.bytes[self.size - nbytes :] if at_end else self.bytes[:nbytes]
        array = np.ndarray(shape, dtype, piece, strides=(row, apart * dtype.itemsize)[-len(shape) :])
        return array[..., ::-1] if step < 0 else array


STEPS = {"rows": 1, "apart": 2, "backwards": -1}  # rows are (rows, n), columns are (n, columns)


def cases(fmt, layout):
    """Shapes (rows, n) or (n, columns)."""
    if layout in STEPS:
        for n in [*vectors.SHORT, *vectors.around_pairs(fmt, (2, 4, 6, 8)), 5003]:
            for rows in (1, 3, 4, 5) if n < 1000 else (2,):
                yield rows, n
        yield 1, 200_003
    else:
        for n in [1, 2, 3, 4, 5, 15, 16, 17]:
            for columns in [*range(2, 36), 63, 64, 65, 127, 128, 129, 200, 255, 257]:
                yield n, columns
        for n in [31, 33, 100, 257]:
            for columns in [2, 17, 64, 65, 129]:
                yield n, columns


def check(shape, fmt, layout, at_end, gap, memory):
    n, axis = (shape[1], 1) if layout in STEPS else (shape[0], 0)
    families = vectors.rows(fmt, n, 7)
    values = families[np.arange(shape[1 - axis]) % 7]
    values = values if axis == 1 else np.ascontiguousarray(values.T)
    for name in ("weight", "bias"):
        memory[name].read_write()
    memory["x"].read_write()
    x = memory["x"].array(shape, fmt.dtype, at_end, gap, STEPS.get(layout, 1))
    out = memory["out"].array(shape, fmt.dtype, at_end, gap, STEPS.get(layout, 1))
    weight = memory["weight"].array((n,), fmt.compute, at_end)
    bias = memory["bias"].array((n,), fmt.compute, at_end)
    x[...] = values
    weight[...], bias[...] = vectors.parameters(fmt, n)
    for name in ("x", "weight", "bias"):
        memory[name].read_only()  # a kernel has no business writing there
    expected = fastln.layer_norm(values, weight.copy(), bias.copy(), axis=axis)
    plain = fastln.rms_norm(values, axis=axis)
    for result, call in (
        (expected, lambda: fastln.layer_norm(x, weight, bias, axis=axis, out=out)),
        (plain, lambda: fastln.rms_norm(x, axis=axis, out=out)),
    ):
        memory["out"].bytes[:] = 0xA5
        call()
        assert out.tobytes() == result.tobytes(), "another result between guard pages"
        out[...] = np.frombuffer(b"\xa5" * out.itemsize, out.dtype)
        assert (memory["out"].bytes == 0xA5).all(), "written outside of out"


# (samples, groups, channels of a group, places): parts that are repeated in memory and parts that are not, with tails.
FAMILY = [
    (1, 2, 3, 1), (2, 3, 4, 7), (1, 2, 5, 16), (2, 2, 3, 33), (1, 3, 90, 3), (3, 5, 1, 64), (1, 2, 2, 515),
    (1, 4, 17, 17), (1, 1, 2, 4099), (2, 2, 2050, 5),
]  # fmt: skip


def check_family(shape, fmt, at_end, memory):
    """Each call with all of its arrays between the guards gives what it gives for copies of them elsewhere."""
    samples, groups, per_group, places = shape
    channels, length = groups * per_group, per_group * places
    for guarded in memory.values():
        guarded.read_write()

    def place(name, values):
        array = memory[name].array((values.size,), values.dtype, at_end).reshape(values.shape)
        array[...] = values
        return array

    x = place("x", vectors.rows(fmt, length, samples * groups).reshape(samples, channels, places))
    out = place("out", np.zeros_like(x))
    weight, bias = (place(n, p) for n, p in zip(("weight", "bias"), vectors.parameters(fmt, channels), strict=True))
    mean, rstd = (
        place(n, a) for n, a in (("mean", np.linspace(-1, 1, channels)), ("rstd", np.linspace(0.5, 2, channels)))
    )
    residual = place("residual", vectors.rows(fmt, length, samples * groups, salt=1).reshape(x.shape))
    total = place("sum", np.zeros_like(x))
    last = x.reshape(samples, places, channels)
    per_sample = samples, 1, channels
    more = [
        place(f"full {n}", p.reshape(per_sample)) for n, p in enumerate(vectors.parameters(fmt, samples * channels))
    ]
    for name in memory.keys() - {"out", "sum"}:
        memory[name].read_only()
    calls = [
        lambda a, out, s: fastln.group_norm(a["x"], groups, a["w"], a["b"], out=out),
        lambda a, out, s: fastln.instance_norm(a["x"], a["w"], None, out=out),
        lambda a, out, s: fastln.batch_norm(a["x"], a["mean"], a["rstd"], a["w"], a["b"], out=out),
        lambda a, out, s: fastln.batch_norm(
            a["last"], a["mean"], a["rstd"], a["w"], a["b"], axis=-1, out=out.reshape(last.shape)
        ),
        lambda a, out, s: fastln.layer_norm(a["last"], a["w2"], a["b2"], out=out.reshape(last.shape)),
        lambda a, out, s: fastln.layer_norm(a["x"], a["w2"].reshape(samples, channels, 1), axis=1, out=out),
        lambda a, out, s: fastln.ada_norm(a["x"], out=out),
        lambda a, out, s: fastln.add_layer_norm(
            a["last"], a["r"], a["w2"], a["b2"], out=out.reshape(last.shape), sum_out=s.reshape(last.shape)
        ),
        lambda a, out, s: fastln.add_rms_norm(a["x"], a["r"].reshape(x.shape), out=out, sum_out=s),
        lambda a, out, s: (fastln.moments(a["x"]), fastln.batch_moments(a["x"])),
    ]
    inside = {
        "x": x,
        "last": last,
        "r": residual.reshape(last.shape),
        "w": weight,
        "b": bias,
        "mean": mean,
        "rstd": rstd,
    }
    inside |= {"w2": more[0], "b2": more[1]}
    outside = {name: a.copy() for name, a in inside.items()}
    for i, call in enumerate(calls):
        expected, expected_sum = np.zeros_like(x), np.zeros_like(x)
        result = call(outside, expected, expected_sum)
        out[...] = total[...] = 0
        for name in ("out", "sum"):
            around = memory[name].bytes[: -x.nbytes] if at_end else memory[name].bytes[x.nbytes :]
            around[:] = 0xA5
        got = call(inside, out, total)
        assert out.tobytes() == expected.tobytes(), f"call {i}: another result between guard pages"
        assert total.tobytes() == expected_sum.tobytes(), f"call {i}: another sum between guard pages"
        if i == len(calls) - 1:
            np.testing.assert_array_equal(
                np.concatenate([np.ravel(b) for a in got for b in a]),
                np.concatenate([np.ravel(b) for a in result for b in a]),
            )
        for name in ("out", "sum"):
            around = memory[name].bytes[: -x.nbytes] if at_end else memory[name].bytes[x.nbytes :]
            assert (around == 0xA5).all(), f"call {i}: written outside of {name}"


def family(fmt):
    names = ["x", "out", "weight", "bias", "mean", "rstd", "residual", "sum", "full 0", "full 1"]
    memory = {name: Guarded(400_000) for name in names}
    for shape in FAMILY:
        for at_end in (True, False):
            print(f"{shape}, unreadable page {'behind' if at_end else 'before'}", end="\r", flush=True)
            check_family(shape, fmt, at_end, memory)
    print(f"{2 * len(FAMILY)} cases hold")


def main(isa, name, layout):
    faulthandler.enable()
    fmt = vectors.BY_NAME[name]
    memory = {}
    count = 0
    if layout == "family":
        with isas.using(isa):
            family(fmt)
        return
    with isas.using(isa):
        for shape in cases(fmt, layout):
            size = 600_000 if shape[0] * shape[1] < 30_000 else 4_000_000
            if size not in memory:
                memory[size] = {name: Guarded(size) for name in ("x", "out", "weight", "bias")}
            for at_end in (True, False):
                gap = 3 * (shape[1] % 2)
                print(f"{shape}, {gap=}, unreadable page {'behind' if at_end else 'before'}", end="\r", flush=True)
                check(shape, fmt, layout, at_end, gap, memory[size])
                count += 1
    print(f"{count} cases hold")


if __name__ == "__main__":
    main(*sys.argv[1:])
