"""The regression guard that knows no clock: how many instructions the kernels take for each value of an array, counted
by callgrind on the instruction sets that it knows, beside the numbers in instructions.json.

    python benchmarks/instructions.py             compares; exit code 1: some case takes over 3 % more, or has no record
    python benchmarks/instructions.py --record    writes what it counts to instructions.json

Counted is the code of src/ alone: what the C library does inside memcpy() or fma() depends on its version. Needs
valgrind (Debian: valgrind) and a C compiler (CC, or cc); exit code 2: something that it takes to count is not there.
"""

import argparse
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "benchmarks" / "instructions.json"

sys.path.insert(0, str(ROOT / "tests"))

from flags import flags  # noqa: E402

SLACK = 0.03
ISAS = ["avx2", "scalar"]  # valgrind has no AVX-512

# Operation, dtype, layout, shape, parameters. Axis 1 is normalized. Rows have their values side by side; columns have
# other columns beside them, and scattered rows a few others, or none: then they are every other value of an array.
CASES = """\
layer_norm f32 rows 64x768 weight bias
layer_norm f32 rows 64x768 weight
layer_norm f32 rows 64x768 bias
layer_norm f32 rows 64x768
layer_norm f32 rows 1x768 weight bias
layer_norm f32 rows 64x1024 weight bias
layer_norm f32 rows 4x4096 weight bias
layer_norm f32 rows 1x70000 weight bias
layer_norm f32 rows 64x300 weight bias
layer_norm f32 rows 256x77 weight bias
layer_norm f32 rows 512x64 weight bias
layer_norm f32 rows 512x32 weight bias
layer_norm f32 rows 512x16 weight bias
layer_norm f32 rows 512x5 weight bias
layer_norm f64 rows 64x768 weight bias
layer_norm f16 rows 64x768 weight bias
layer_norm bf16 rows 64x768 weight bias
rms_norm f32 rows 64x768 weight
rms_norm f32 rows 4x4096 weight
rms_norm f32 rows 512x64 weight
rms_norm f16 rows 64x768 weight
rms_norm bf16 rows 64x768 weight
layer_norm f32 columns 4x96x196 weight bias
layer_norm f32 columns 64x96x64 weight bias
layer_norm f32 columns 1x512x256
layer_norm f32 columns 4x3x1024 weight bias
layer_norm f16 columns 4x96x196 weight bias
rms_norm f32 columns 4x96x196 weight
layer_norm f32 scattered 64x300 weight bias
layer_norm f32 scattered 64x300x3 weight bias
layer_norm f32 scattered 1x70000 weight bias
layer_norm f16 scattered 64x300x3 weight bias
""".splitlines()


class CannotCount(Exception):
    """Says what is missing, or what went wrong."""


# ---- counting ----


def run(command, what, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise CannotCount(f"{what} failed with exit code {done.returncode}:\n{done.stderr}")
    return done.stdout


def compiler():
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        raise CannotCount(f"no C compiler: {command[0]} is not found (Debian: gcc; the variable CC names another)")
    return command


def compile_driver(folder):
    """benchmarks/count.c with the kernels. What is not counted is left out: OpenMP and other instruction sets."""
    command = [*compiler(), "-w", f"-I{ROOT / 'src'}"]
    sources = [*sorted((ROOT / "src").glob("*.c")), ROOT / "benchmarks" / "count.c"]
    left_out = {"parallel"} | {source.stem for source in sources if source.stem.startswith("isa_")}
    left_out -= {f"isa_{isa}" for isa in ISAS}

    def compile_one(source):
        target = folder / f"{source.stem}.o"
        options = flags("count" if source.stem in left_out else source.stem)
        run([*command, *options, "-c", source, "-o", target], f"the compiler, on {source.name},")
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    run([*command, *objects, "-o", folder / "count", "-lm"], "the linker")
    return folder / "count"


def own_instructions(dump, program):
    """Those of `program` itself in a dump of callgrind's, which must be without compressed names and positions."""
    total, inside, of_callee = 0, False, False
    for line in dump.splitlines():
        if line.startswith("ob="):
            inside = line == f"ob={program}"
        elif line.startswith("calls="):
            of_callee = True  # the line after it; stands under the callee's own name, too
        elif line[:1].isdigit():
            if inside and not of_callee:
                total += int(line.split()[1])
            of_callee = False
    return total


def elements(case):
    return math.prod(map(int, case.split()[3].split("x")))


def count_isa(program, isa, folder):
    """The compiler that made the program, and {case: instructions per element}."""
    valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder / isa}", "--compress-strings=no"]
    valgrind += ["--compress-pos=no", "--toggle-collect=counted", "--dump-after=counted"]
    found = run([*valgrind, program, isa], f"the count of {isa}", input="\n".join(CASES))
    dumps = [(folder / f"{isa}.{part}").read_text() for part in range(1, len(CASES) + 1)]
    counts = [own_instructions(dump, program) / elements(case) for case, dump in zip(CASES, dumps, strict=True)]
    if not all(counts):
        raise CannotCount("callgrind counted nothing; did the format of its dumps change?")
    return found.strip(), {f"{isa} {case}": round(n, 4) for case, n in zip(CASES, counts, strict=True)}


def count():
    """What instructions.json holds."""
    if shutil.which("valgrind") is None:
        raise CannotCount("valgrind is not found (Debian: valgrind)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        program = compile_driver(folder)
        instructions = {}
        for isa in ISAS:
            found, counts = count_isa(program, isa, folder)
            instructions |= counts
    return {"compiler": found, "instructions per element": instructions}


# ---- comparing ----


class Comparison(NamedTuple):
    case: str
    recorded: float | None
    now: float | None

    @property
    def change(self):
        return None if self.recorded is None or self.now is None else self.now / self.recorded - 1

    @property
    def verdict(self):
        if self.recorded is None:
            return "not in the record"
        if self.now is None:
            return "in the record only"
        return "WORSE" if self.change > SLACK else "better" if self.change < -SLACK else ""

    def line(self, same_compiler):
        numbers = ["" if value is None else f"{value:.4f}" for value in (self.recorded, self.now)]
        change = "" if self.change is None else f"{self.change:+.1%}"
        verdict = self.verdict if same_compiler or self.change is None else ""
        return f"{self.case:<60}{numbers[0]:>10}{numbers[1]:>10}{change:>9}  {verdict}".rstrip()


def compare(recorded, now):
    return [Comparison(case, recorded.get(case), now.get(case)) for case in recorded | now]


def major(compiler):
    """`gcc 12` of `gcc 12.2.0`."""
    return compiler.partition(".")[0]


def conclude(comparisons, same_compiler):
    """What follows from them, as lines, and the exit code."""
    again = f"python {Path(__file__).relative_to(ROOT)} --record"
    verdicts = [comparison.verdict for comparison in comparisons]
    odd = sum(comparison.change is None for comparison in comparisons)
    worse, better = (verdicts.count(verdict) if same_compiler else 0 for verdict in ("WORSE", "better"))
    lines = []
    if odd:
        lines.append(f"cases on one side only: {odd}; record all with {again}")
    if worse:
        lines.append(f"cases that take over {SLACK:.0%} more instructions than recorded: {worse}; if need be: {again}")
    if better:
        lines.append(f"cases that are over {SLACK:.0%} better: {better}; record it with {again}")
    if same_compiler and not lines:
        lines.append(f"all {len(comparisons)} cases are within {SLACK:.0%} of the record")
    return lines, 1 if odd or worse else 0


def report(recorded, now):
    """All there is to say about two counts, as lines, and the exit code."""
    key = "instructions per element"
    comparisons = compare(recorded[key], now[key])
    before, after = recorded["compiler"], now["compiler"]
    same_compiler = major(before) == major(after)
    lines = [f"{key:<60}{'recorded':>10}{'now':>10}{'change':>9}"]
    lines += [*(comparison.line(same_compiler) for comparison in comparisons), ""]
    if not same_compiler:
        lines.append(f"NOTHING WAS COMPARED: the record was made with {before}, this with {after}, whose code is other")
    conclusion, code = conclude(comparisons, same_compiler)
    return lines + conclusion, code


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Instructions per element of the kernels, beside what was recorded.")
    parser.add_argument("--record", action="store_true", help=f"write them to {RECORD.name}")
    options = parser.parse_args(arguments)
    if not options.record and not RECORD.is_file():
        print(f"there is no {RECORD.name}: make it with --record", file=sys.stderr)
        return 2
    try:
        now = count()
    except CannotCount as problem:
        print(f"cannot count: {problem}", file=sys.stderr)
        return 2
    if options.record:
        RECORD.write_text(json.dumps(now, indent=4) + "\n")
        print(f"recorded {len(now['instructions per element'])} cases, made with {now['compiler']}")
        return 0
    lines, code = report(json.loads(RECORD.read_text()), now)
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
