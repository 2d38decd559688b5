"""fastln and fork(): it neither hangs nor loses its threads, whoever forks and whoever else uses OpenMP."""

import os
import sys

import pytest

import fastln
import fork_scenarios
from processes import HERE, WATCHDOG, compile_c, output

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()"),
    pytest.mark.skipif(
        not fastln.show_config("dicts")["Threads"]["runtime"].startswith("OpenMP"), reason="built without OpenMP"
    ),
]

SLOW = {"fork_while_in_use": 60, "pool_spawn": 30, "pool_forkserver": 30, "pool_forkserver_preloaded": 30}


@pytest.fixture(scope="module")
def other_library(tmp_path_factory):
    target = tmp_path_factory.mktemp("other") / "libother.so"
    return compile_c(target, HERE / "c" / "other_openmp.c", flags=["-fopenmp", "-shared", "-fPIC"])


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in fork_scenarios.SCENARIOS])
def test_scenario(scenario, other_library):
    output(
        [sys.executable, HERE / "fork_scenarios.py", scenario, other_library],
        env={"FASTLN_NUM_THREADS": "2"},
        timeout=SLOW.get(scenario, WATCHDOG),
    )
