"""What all tests share: the installed package is what they import, and one fixture runs a test per instruction set."""

import os
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent


def leads_to_checkout(entry):
    return Path(entry or ".").resolve() == ROOT


# `python -m pytest` in the checkout puts the source folder `fastln/`, which has no compiled modules, before the
# installed package. This file is imported before any test module.
sys.path[:] = [entry for entry in sys.path if not leads_to_checkout(entry)]

import fastln  # noqa: E402
import isas  # noqa: E402

if Path(fastln.__file__).resolve().parent == ROOT / "fastln":
    raise RuntimeError(f"the tests are for an installed fastln, not for the source folder {ROOT / 'fastln'}")

fastln._core._careless_threads(True)  # a busy machine shall not make the tests of threads mean less

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


# With few tests that take long: among several processes they begin first, or the others would wait for them at the end.
FIRST = ["test_neon.py", "test_accuracy.py", "test_build.py"]


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):  # pytest-xdist: by the number of tests in a file
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(params=isas.supported())
def isa(request):
    """Runs the test once per instruction set of this build that this processor supports."""
    with isas.using(request.param):
        yield request.param
