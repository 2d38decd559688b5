"""What happens around fork() in processes that use OpenMP. Run as `python fork_scenarios.py SCENARIO LIBRARY`, where
LIBRARY is other_openmp.c, compiled. A scenario that fails exits with an error; one that OpenMP's runtime breaks hangs.

"Has threads" means all of: the default is 2, work large enough for two threads leaves a second one behind, and the
result has the bits of a serial one."""

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np

X = np.random.default_rng(0).standard_normal((2000, 768), dtype=np.float32)


def use_other():
    other = ctypes.CDLL(sys.argv[2])
    other.other_sum.restype = ctypes.c_long
    assert other.other_sum(ctypes.c_long(1000)) == 499500


def count_threads():
    return len(os.listdir("/proc/self/task"))


def use():
    """Normalizes X, with as many threads as there are; returns their number."""
    import fastln

    y = fastln.layer_norm(X)
    with fastln.num_threads(1):
        assert y.tobytes() == fastln.layer_norm(X).tobytes()
    return fastln.get_num_threads()


def has_threads():
    assert use() == 2, "the default is not 2"
    assert count_threads() >= 2, "no thread was started"


def is_serial():
    import fastln

    before = count_threads()
    assert use() == 1, "the default is not 1"
    assert count_threads() == before, "a thread was started"
    fastln.set_num_threads(2)
    use()
    assert count_threads() == before, "a thread was started after set_num_threads"
    openmp = fastln.show_config("dicts")["Threads"]["runtime"]
    assert "serial: loaded in a forked process" in openmp, openmp


def in_child(*functions):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pid = os.fork()
    if pid == 0:
        try:
            for function in functions:
                function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0, "the child failed"
    # Python 3.12 and later warn when a process forks that has other threads, of any kind.
    if threading.active_count() == 1 and "fastln" in sys.modules:
        assert not caught, caught[0].message


def in_thread(*functions):
    failures = []

    def body():
        try:
            for function in functions:
                function()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def used_in_parent():
    has_threads()
    in_child(has_threads)
    has_threads()
    in_child(has_threads)


def used_in_ended_thread():
    in_thread(has_threads)
    while count_threads() > 1:  # its team ends soon after it
        time.sleep(0.01)
    in_child(has_threads)


def used_in_live_thread():
    used, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (use(), used.set(), end.wait()))
    thread.start()
    used.wait()
    in_child(has_threads)
    end.set()
    thread.join()


def imported_in_child():
    in_child(is_serial)


def other_used_in_parent_imported_in_child():
    use_other()
    in_child(is_serial)


def other_used_in_parent():
    import fastln  # noqa: F401

    use_other()
    in_child(has_threads, use_other)
    in_child(use_other, has_threads)


def both_used_in_parent():
    use_other()
    has_threads()
    use_other()
    in_child(has_threads, use_other)
    has_threads()
    use_other()


def other_used_in_child():
    has_threads()
    in_child(use_other, has_threads)


def other_used_in_thread():
    import fastln  # noqa: F401

    in_thread(use_other)
    in_thread(use_other, lambda: in_child(has_threads, use_other))


def fork_while_in_use():
    import fastln

    stop = threading.Event()

    def loop():
        while not stop.is_set():
            fastln.layer_norm(X)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        for _ in range(40):
            in_child(has_threads)
    finally:
        stop.set()
        thread.join()


def grandchild():
    has_threads()
    in_child(has_threads, lambda: in_child(has_threads), has_threads)
    in_child(lambda: in_child(has_threads))


def fork_in_thread():
    in_thread(has_threads, lambda: in_child(has_threads))
    has_threads()
    in_thread(lambda: in_child(has_threads))


def settings_in_child():
    import fastln

    has_threads()
    fastln.set_num_threads(3)

    def child():
        assert fastln.get_num_threads() == 3

    in_child(child)


def executed():
    """exec() makes a new process of a forked one."""
    has_threads()
    code = "import fork_scenarios; fork_scenarios.has_threads()"
    path = os.path.dirname(os.path.abspath(__file__))
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=True)
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=True, preexec_fn=int)


def pool_task(_):
    return use()


def pool(method, expected):
    has_threads()
    context = multiprocessing.get_context(method)
    with context.Pool(2) as workers:
        assert workers.map(pool_task, range(8)) == 8 * [expected]
    with ProcessPoolExecutor(2, context) as workers:
        assert list(workers.map(pool_task, range(8))) == 8 * [expected]
    has_threads()


def pool_fork():
    pool("fork", 2)


def pool_spawn():
    pool("spawn", 2)


def pool_forkserver():
    pool("forkserver", 1)


def pool_forkserver_preloaded():
    multiprocessing.set_forkserver_preload(["fastln"])
    pool("forkserver", 2)


SCENARIOS = [
    used_in_parent,
    used_in_ended_thread,
    used_in_live_thread,
    imported_in_child,
    other_used_in_parent_imported_in_child,
    other_used_in_parent,
    both_used_in_parent,
    other_used_in_child,
    other_used_in_thread,
    fork_while_in_use,
    grandchild,
    fork_in_thread,
    settings_in_child,
    executed,
    pool_fork,
    pool_spawn,
    pool_forkserver,
    pool_forkserver_preloaded,
]

if __name__ == "__main__":
    {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]]()
