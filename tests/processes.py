"""Runs a program in a process of its own, under a watchdog that ends it and all of its children."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent / "src"
WATCHDOG = 10  # seconds; what is run takes well under one, unless it hangs


class Hang(AssertionError):
    pass


def run(command, *, env=None, cwd="/", timeout=WATCHDOG):
    """Returns the completed process, whatever its exit code. The environment has none of the variables that fastln and
    OpenMP read but those of `env`, and OpenBLAS starts no threads in it, so that threads can be counted."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FASTLN_", "OMP_", "GOMP_"))}
    environment |= {"OPENBLAS_NUM_THREADS": "1"} | (env or {})
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise Hang(f"{command}: still running after {timeout} s\n{stdout}{stderr}") from None
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def output(command, **options):
    """Like `run`, for a program that must succeed; returns its stripped standard output."""
    result = run(command, **options)
    assert result.returncode == 0, f"{command}: exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout.strip()


def python(code, **options):
    """What `code` prints. The working directory is the root of the file system, where no package lies about."""
    return output([sys.executable, "-c", code], **options)


def compile_c(target, *sources, flags=()):
    """Compiles C sources with the system's compiler, without a warning; skips the test where there is none."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C compiler")
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}", *flags]
    output([*compiler, *flags, *sources, "-o", target], timeout=60)
    return target
