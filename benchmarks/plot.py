"""The README's picture and table, from what benchmarks/compare.py has measured.

python benchmarks/compare.py --json speed.json
python benchmarks/plot.py speed.json                       # draws docs/speed.svg, prints the table
python benchmarks/plot.py speed.json --table docs/speed.md
"""

import argparse
import json
import sys
from pathlib import Path

from fastln import _cases, _plot

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "speed.svg"


def table(report):
    """Time and error in every cell; nothing where a library lacks the case."""
    results = report["results"]
    names = list(dict.fromkeys(name for result in results for name in result["contenders"]))
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for result in results:
        cells = [cell(name, result["contenders"].get(name)) for name in names]
        lines.append(f"| {result['label']} | {' | '.join(cells)} |")
    about = f"Median time of a call · largest error. {_cases.ABOUT_ERRORS}"
    return "\n".join([*lines, "", about, "", _cases.summary(report), ""])


def cell(name, numbers):
    if numbers is None:
        return ""
    time = f"{_cases.time_text(numbers['median_us'])} µs"
    return time if name == "copy" else f"{time} · {_cases.error_text(numbers['error'])}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="what compare.py --json has written")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE", help="default: docs/speed.svg")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there instead of printing it")
    given = parser.parse_args()
    try:
        report = json.loads(given.json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"{given.json}: {error}")
    text = table(report)
    if given.table:
        given.table.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    try:
        _plot.require()
    except _plot.MissingError as error:
        parser.error(str(error))
    given.output.parent.mkdir(exist_ok=True)
    _plot.draw(report, str(given.output))


if __name__ == "__main__":
    main()
