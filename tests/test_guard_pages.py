"""No kernel touches a byte outside of the arrays it was given: they lie against unreadable pages (guarded.py)."""

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastln
import vectors

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mmap and mprotect")


def run(*arguments):
    program = [sys.executable, str(Path(__file__).with_name("guarded.py")), *arguments]
    return subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)


@linux_only
@pytest.mark.parametrize("layout", ["rows", "columns", "apart", "backwards", "family"])
@pytest.mark.parametrize("fmt", vectors.FORMATS, ids=str)
def test_arrays_between_unreadable_pages(fmt, layout, isa):
    done = run(isa, fmt.name, layout)
    last = done.stdout.split("\r")[-1]
    assert done.returncode == 0, f"ended with {done.returncode} at {last}\n{done.stderr[-3000:]}"
    assert "cases hold" in last


@linux_only
def test_the_guards_bite():
    """Or all of the above would mean nothing."""
    code = "import guarded, ctypes; m = guarded.Guarded(100); ctypes.string_at(m.bytes.ctypes.data + {offset}, 1)"
    for offset, crashes in ((0, False), (mmap.PAGESIZE - 1, False), (mmap.PAGESIZE, True), (-1, True)):
        program = [sys.executable, "-c", code.format(offset=offset)]
        done = subprocess.run(program, cwd=Path(__file__).parent, capture_output=True, check=False)
        assert (done.returncode != 0) == crashes


@pytest.mark.parametrize("fmt", vectors.FORMATS, ids=str)
def test_what_lies_between_strided_rows_is_left_alone(fmt, isa):
    for n in (1, 2, 15, 16, 17, 33, 64, 65, 100, 129, 257, 1000):
        for rows in (1, 2, 3, 4, 5, 9):
            for gap in (1, 3, 17):
                x = vectors.rows(fmt, n, rows)
                memory = np.full((rows, gap + n + gap), 7, fmt.dtype)
                fastln.layer_norm(x, out=memory[:, gap:-gap])
                assert (memory[:, :gap] == 7).all()
                assert (memory[:, -gap:] == 7).all()
                memory = np.full((n, gap + rows + gap), 7, fmt.dtype)  # the same as columns
                fastln.layer_norm(np.ascontiguousarray(x.T), axis=0, out=memory[:, gap:-gap])
                assert (memory[:, :gap] == 7).all()
                assert (memory[:, -gap:] == 7).all()
