"""The compiler flags that setup.py gives to a file of src/ on Unix: `python tests/flags.py isa_avx2` prints them."""

import ast
import sys
from pathlib import Path

SETUP = Path(__file__).resolve().parent.parent / "setup.py"


def flags(stem):
    """Read, not imported: setup.py builds the package when it runs."""
    values = {
        node.targets[0].id: node.value for node in ast.parse(SETUP.read_text()).body if isinstance(node, ast.Assign)
    }
    return ast.literal_eval(values["UNIX"]) + ast.literal_eval(values["UNIX_OWN"]).get(stem, [])


if __name__ == "__main__":
    print(*flags(sys.argv[1]))
