"""Arrays with an unreadable page right behind, or right before, them: one value too far is a crash. Not a test itself:
test_guard_pages.py runs it in a process of its own.

    python guarded.py INSTRUCTION_SET FORMAT rows|columns|apart|backwards
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
        for n in [*vectors.SHORT, *vectors.around_blocks(fmt, (1, 2, 3)), 5003]:
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


def main(isa, name, layout):
    faulthandler.enable()
    fmt = vectors.BY_NAME[name]
    memory = {}
    count = 0
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
