"""The benchmarks measure the installed package, never the source folder of a checkout, and share formula.py."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE.parent]
sys.path.insert(0, str(HERE))
