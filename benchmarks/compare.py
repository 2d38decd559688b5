"""fastln beside a copy, NumPy's formula, and whatever of numba, PyTorch, ONNX Runtime and JAX is installed: all in one
process, in turns, with the same number of threads, and with the error of each beside its time.

    python -m pip install ".[peers,bench]"
    python benchmarks/compare.py                                  # everything: some minutes on a quiet machine
    python benchmarks/compare.py --quick                          # a few shapes
    python benchmarks/compare.py '*x768' float16                  # the cases that have all of these words
    python benchmarks/compare.py --threads 2 --json speed.json    # for benchmarks/plot.py
"""

import argparse
import fnmatch
import importlib.util
import json
import sys
from pathlib import Path

import peers

import fastln
from fastln import _cases
from fastln._cases import Case

FLOAT32_SHAPES = [
    *((1, 768), (8, 768), (32, 384), (128, 768), (512, 1024), (4096, 768), (2048, 4096)),
    *((16384, 64), (65536, 32), (100000, 16), (64, 65536), (1, 4194304), (32768, 1024)),
]
ODD_LENGTHS = [77, 197, 300, 1000, 1023]
CASES = [
    *(Case("layer_norm", shape) for shape in FLOAT32_SHAPES),
    *(Case("layer_norm", (2**20 // length, length)) for length in ODD_LENGTHS),
    *(Case("layer_norm", (128, 768), affine=affine) for affine in ("none", "weight", "bias")),
    Case("layer_norm", (128, 768), "float64"),
    Case("layer_norm", (4096, 768), "float16"),
    Case("layer_norm", (4096, 768), "bfloat16"),
    Case("rms_norm", (128, 768), affine="weight"),
    Case("rms_norm", (512, 4096), affine="weight"),
    Case("layer_norm", (8, 96, 56, 56), axis=1),
    Case("layer_norm", (4096, 768), stride=1024),
]
QUICK = [
    *(Case("layer_norm", shape) for shape in ((1, 768), (128, 768), (4096, 77))),
    Case("layer_norm", (1024, 768), "float16"),
    Case("rms_norm", (128, 768), affine="weight"),
    Case("layer_norm", (2, 96, 28, 28), axis=1),
    Case("layer_norm", (512, 768), stride=1024),
]
LOOSELY = 0.05  # a peer that is further off computes something else


def arguments(about, cases, quick, known):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="run the cases with all of these, * being anything")
    parser.add_argument("--quick", action="store_true", help="a few small cases instead of the whole list")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every contender (default: 1)")
    parser.add_argument("--seconds", type=float, default=2, metavar="S", help="per case (default: 2)")
    parser.add_argument("--peers", metavar="A,B", help="only these of " + ", ".join(p.name for p in known))
    parser.add_argument("--list", action="store_true", help="show the cases and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    given = parser.parse_args()
    if given.threads < 1:
        parser.error(f"argument --threads: expected a number above 0, got {given.threads}")
    if given.json and not given.json.absolute().parent.is_dir():
        parser.error(f"argument --json: no such folder: {given.json.absolute().parent}")
    given.cases = chosen_cases(quick if given.quick else cases, given.words, parser)
    given.peers = chosen_peers(known, given.peers, parser)
    return given


def chosen_cases(cases, words, parser):
    """Those that have one of the shapes among the words, one of the dtypes, one of the operations, one of the rest."""
    for word in words:
        if not any(fnmatch.filter(case.label.split(), word) for case in cases):
            parser.error(f"argument WORD: no case has {word!r}; --list shows them")
    for i in range(4):
        wanted = [word for word in words if any(fnmatch.filter(case.label.split()[i : i + 1], word) for case in cases)]
        if wanted:
            cases = [c for c in cases if any(fnmatch.filter(c.label.split()[i : i + 1], word) for word in wanted)]
    return cases


def chosen_peers(known, names, parser):
    by_name = {peer.name.casefold(): peer for peer in known}
    wanted = by_name.keys() if names is None else [name.strip().casefold() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in by_name]:
        parser.error(f"argument --peers: expected some of {', '.join(p.name for p in known)}, got {unknown[0]!r}")
    return [by_name[name] for name in wanted]


def start(chosen, threads):
    """The peers that can be had. What is wrong with the others is told once, on stderr."""
    started = []
    for peer in chosen:
        if not peer.is_installed():
            print(f"{peer.name}: not installed", file=sys.stderr)
            continue
        try:
            started.append(peer(threads))
        except Exception as error:  # whatever a broken installation raises
            leave_out(peer.name, "all cases", error)
    return started


def leave_out(name, label, reason):
    print(f"{name}: left out of {label}: {str(reason).strip().splitlines()[0]}", file=sys.stderr)


def run(case, started, budget, kind):
    arrays = case.arrays()
    contenders = kind.own_contenders(case, arrays)
    errors = _cases.checked_errors(case, arrays, contenders, kind.errors)
    for peer in started:
        try:
            if (contender := peer.prepare(case, arrays)) is None:
                continue
            [error] = kind.errors(case, arrays, [contender]).values()
        except Exception as reason:  # a dtype or an operation that it does not have
            leave_out(peer.name, case.label, reason)
            continue
        if error * _cases.UNIT[case.dtype] > LOOSELY:
            leave_out(peer.name, case.label, f"its result is off by {error:g} units")
            continue
        errors[peer.name] = error
        contenders.append(contender)
    return _cases.result(case, contenders, errors, budget)


def show(result, first):
    for i, (name, numbers) in enumerate(result["contenders"].items()):
        error = "" if name == "copy" else _cases.error_text(numbers["error"])
        print(
            f"{'' if i else result['label']:{first}} {name:13} {_cases.time_text(numbers['median_us']):>9} "
            f"{_cases.spread_text(numbers):>12} {numbers['to_copy']:>9.2f} {error:>9}",
            flush=True,
        )


def main(about=__doc__, cases=CASES, quick=QUICK, known=peers.PEERS, kind=_cases):
    """kind: the module that knows the calls of these cases and how exact they are."""
    given = arguments(about, cases, quick, known)
    if given.list:
        print(*(case.label for case in given.cases), sep="\n")
        return
    started = start(given.peers, given.threads)
    results = []
    with fastln.num_threads(given.threads):
        first = max(38, *(len(case.label) for case in given.cases))
        print(f"{'':{first}} {'':13} {'us':>9} {'10-90 %':>12} {'x copy':>9} {'error':>9}")
        for case in given.cases:
            if case.dtype == "bfloat16" and importlib.util.find_spec("ml_dtypes") is None:
                leave_out("all", case.label, "ml_dtypes is not installed")
                continue
            results.append(run(case, started, given.seconds, kind))
            show(results[-1], first)
    report = _cases.report(results, given.threads, {peer.name: peer.version() for peer in started})
    print(f"\n{_cases.ABOUT_ERRORS}\n{_cases.summary(report)}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
