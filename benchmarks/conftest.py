"""The benchmarks measure the installed package, never the source folder of a checkout."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
sys.path.append(str(ROOT / "benchmarks"))  # whose modules share their cases
