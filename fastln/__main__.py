"""`python -m fastln info` and `python -m fastln bench`."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import fastln
from fastln import _cases, _config, _plot
from fastln._cases import Case

SHAPES = [(1, 768), (128, 768), (4096, 768), (16384, 64)]
MOST_VALUES = 2**31
LONG = 2.0  # seconds: what takes longer says how far it is

EXAMPLES = """examples:
  python -m fastln bench
  python -m fastln bench 128x768 4096x768 float16 float32
  python -m fastln bench 8x96x56x56 --axis 1 --threads 2 --plot speed.svg
"""


def parse(words: list[str]) -> argparse.Namespace:
    main = argparse.ArgumentParser(prog="python -m fastln", description="What this build of fastln is, and how fast.")
    commands = main.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="version, instruction sets, threads, build, machine")
    bench = commands.add_parser(
        "bench",
        help="fastln beside NumPy's formula and a copy, on this machine",
        description="Times fastln, a copy of the array and NumPy's formula in turns, and shows how exact they are.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bench.add_argument("what", nargs="*", type=shape_or_dtype, metavar="SHAPE|DTYPE", help=f"{WHAT}, in any order")
    bench.add_argument("--op", choices=_cases.OPERATIONS, default="layer_norm")
    bench.add_argument("--axis", type=int, default=-1, help="the axis to normalize over (default: the last)")
    bench.add_argument("--affine", choices=_cases.AFFINE, help="which parameters to pass (default: all there are)")
    bench.add_argument("--threads", type=positive(int), metavar="N", help="default: what fastln uses anyway")
    bench.add_argument("--seconds", type=positive(float), default=0.5, metavar="S", help="per row (default: 0.5)")
    bench.add_argument("--json", type=target, metavar="FILE", help="write all numbers there; - is standard output")
    bench.add_argument("--plot", type=picture, metavar="FILE", help="draw them: .png or .svg (needs matplotlib)")
    bench.set_defaults(command="bench", error=bench.error)
    # Options may stand between shapes and dtypes, which argparse's commands can't do by themselves.
    return bench.parse_intermixed_args(words[1:]) if words[:1] == ["bench"] else main.parse_args(words)


# What the arguments may be

WHAT = f"a shape such as 128x768, or one of {', '.join(_cases.DTYPES)}"


def shape_or_dtype(text: str) -> tuple[int, ...] | str:
    if text in _cases.DTYPES:
        return text
    shape = tuple(map(int, text.split("x"))) if re.fullmatch(r"[0-9]{1,18}(x[0-9]{1,18})*", text) else ()
    if 0 in shape or not shape:
        raise argparse.ArgumentTypeError(f"expected {WHAT}, got {text!r}")
    values = 1
    for length in shape:
        values *= length
    if values > MOST_VALUES or len(shape) > 32:
        raise argparse.ArgumentTypeError(f"expected a shape of at most 2^31 values and 32 axes, got {text!r}")
    return shape


def positive(kind: type) -> Any:
    def number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 2**31:
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
        return value

    return number


def target(text: str) -> str:
    """Where something can be written: better known before minutes of measuring than after."""
    if text != "-" and (Path(text).is_dir() or not Path(text).absolute().parent.is_dir()):
        raise argparse.ArgumentTypeError(f"expected a file in an existing folder, got {text!r}")
    return text


def picture(text: str) -> str:
    if Path(text).suffix not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .png or .svg, got {text!r}")
    return target(text)


def cases(arguments: argparse.Namespace) -> list[Case]:
    """Every shape in every dtype. Ends the program when they don't go together."""
    shapes = [what for what in arguments.what if isinstance(what, tuple)] or SHAPES
    dtypes = [what for what in arguments.what if isinstance(what, str)] or ["float32"]
    affine = arguments.affine or ("both" if arguments.op == "layer_norm" else "weight")
    if arguments.op == "rms_norm" and affine in ("bias", "both"):
        arguments.error(f"argument --affine: rms_norm has no bias: expected none or weight, got {affine!r}")
    for shape in shapes:
        if not -len(shape) <= arguments.axis < len(shape):
            name = "x".join(map(str, shape))
            arguments.error(
                f"argument --axis: expected {-len(shape)} to {len(shape) - 1} for shape {name}, got {arguments.axis}"
            )
    return [Case(arguments.op, shape, dtype, affine, arguments.axis) for shape in shapes for dtype in dtypes]


def check_packages(arguments: argparse.Namespace) -> None:
    try:
        if "bfloat16" in arguments.what:
            importlib.import_module("ml_dtypes")
        if arguments.plot:
            _plot.require()
    except _plot.MissingError as error:
        arguments.error(f"argument --plot: {error}")
    except ImportError:
        arguments.error("bfloat16 needs ml_dtypes: python -m pip install ml_dtypes")


# The commands


def info() -> None:
    versions = {"Python": platform.python_version(), "NumPy": np.__version__}
    _config.show(fastln.show_config("dicts") | {"Machine": _cases.machine() | versions})


def bench(arguments: argparse.Namespace) -> None:
    todo = cases(arguments)
    check_packages(arguments)
    table = sys.stderr if arguments.json == "-" else sys.stdout  # JSON has standard output for itself
    threads = arguments.threads or fastln.get_num_threads()
    first = max(len(case.label) for case in todo)
    with fastln.num_threads(threads):
        steps = progress(todo, arguments.seconds)
        write = getattr(steps, "write", print)  # a bar has a way of its own to print beside it
        write(line(first, HEADINGS), file=table)
        results = []
        for case in steps:
            results.append(measured(case, arguments.seconds))
            write(line(first, cells(results[-1])), file=table)
    report = _cases.report(results, threads)
    print(f"\n{LEGEND}\n{_cases.summary(report)}", file=table)
    if arguments.json:
        write_json(report, arguments.json)
    if arguments.plot:
        _plot.draw(report, arguments.plot)


def measured(case: Case, budget: float) -> dict[str, Any]:
    arrays = case.arrays()
    contenders = _cases.own_contenders(case, arrays)
    return _cases.result(case, contenders, _cases.checked_errors(case, arrays, contenders), budget)


def progress(todo: list[Case], seconds: float) -> Iterable[Case]:
    """The cases, with a bar where there is a terminal and tqdm, and where it takes long at all."""
    if len(todo) * seconds < LONG:
        return todo
    if sys.stderr.isatty():
        with suppress(ImportError):
            bar: Iterable[Case] = importlib.import_module("tqdm").tqdm(todo, unit="row", leave=False, file=sys.stderr)
            return bar
    print(f"Measuring {len(todo)} rows, about {len(todo) * seconds:.0f} s ...", file=sys.stderr, flush=True)
    return todo


HEADINGS = ("", "fastln us", "10-90 %", "copy us", "NumPy us", "10-90 %", "x copy", "speedup", "error", "NumPy's")
LEGEND = f"""\
Medians of samples taken in turns, in microseconds; 10-90 %: how far below and above it 10 and 90 of 100 samples end;
x copy: fastln / copy; speedup: NumPy / fastln.
{_cases.ABOUT_ERRORS}"""


def cells(result: dict[str, Any]) -> tuple[str, ...]:
    own, copy, numpy = (result["contenders"][name] for name in ("fastln", "copy", "NumPy"))
    time, error, spread = _cases.time_text, _cases.error_text, _cases.spread_text
    speedup = numpy["median_us"] / own["median_us"]
    return (
        result["label"],
        *(time(own["median_us"]), spread(own), time(copy["median_us"]), time(numpy["median_us"]), spread(numpy)),
        *(f"{own['to_copy']:.2f}", f"{speedup:.1f}", error(own["error"]), error(numpy["error"])),
    )


def line(first: int, cells: tuple[str, ...]) -> str:
    return f"{cells[0]:{first}}" + "".join(f"{cell:>{12 if i in (1, 4) else 10}}" for i, cell in enumerate(cells[1:]))


def write_json(report: dict[str, Any], path: str) -> None:
    text = json.dumps(report, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text, encoding="utf-8")


def main() -> int:
    arguments = parse(sys.argv[1:])
    try:
        if arguments.command == "info":
            info()
        else:
            bench(arguments)
    except (RuntimeError, OSError) as error:
        print(f"python -m fastln: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print("python -m fastln: not enough memory for arrays of this shape", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
