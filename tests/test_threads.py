"""How many threads there are, and that nothing else about a call depends on it."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastln
from processes import HERE, SOURCES, compile_c, output, python, run

HAS_OPENMP = fastln.show_config("dicts")["Threads"]["runtime"].startswith("OpenMP")
needs_openmp = pytest.mark.skipif(not HAS_OPENMP, reason="built without OpenMP")
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no sched_setaffinity() here")
needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about /proc")

GET = "import fastln; print(fastln.get_num_threads())"


@pytest.fixture(autouse=True)
def default_threads():
    with fastln.num_threads(fastln.get_num_threads()):
        yield


# --- The default -----------------------------------------------------------------------------------------------------


@needs_openmp
@pytest.mark.parametrize(
    ("fastln_value", "omp_value", "expected"),
    [
        ("3", None, 3),
        ("3", "2", 3),
        ("3", "junk", 3),
        ("1024", None, 1024),
        ("", "4", 4),
        (None, "4", 4),
        (None, "4,2", 4),
        (None, " 4 , 2", 4),
        (None, "99999999999999999999", 1024),
    ],
)
def test_environment(fastln_value, omp_value, expected):
    env = {"FASTLN_NUM_THREADS": fastln_value, "OMP_NUM_THREADS": omp_value}
    assert int(python(GET, env={k: v for k, v in env.items() if v is not None})) == expected


@needs_openmp
@pytest.mark.parametrize("value", ["", "0", "-2", "junk", "2x", ",3", "+3"])
def test_wrong_omp_num_threads_is_ignored(value):
    assert python(GET, env={"OMP_NUM_THREADS": value}) == python(GET)


@pytest.mark.parametrize(
    "value", ["0", "-1", "two", "2x", " 2", "+2", "2,3", "1e3", "1025", "99999999999999999999", "é"]
)
def test_wrong_fastln_num_threads_is_an_import_error(value):
    result = run([sys.executable, "-c", "import fastln"], env={"FASTLN_NUM_THREADS": value})
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: FASTLN_NUM_THREADS")
    assert "1 to 1024" in last
    assert value in last or not value.isascii()


@needs_openmp
@needs_affinity
@pytest.mark.parametrize("when", ["before", "after"])
def test_affinity(when):
    restrict = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})"
    lines = ["import fastln", restrict] if when == "after" else [restrict, "import fastln"]
    assert python("\n".join([*lines, "print(fastln.get_num_threads())"])) == "1"


@needs_openmp
@needs_affinity
def test_default_is_looked_up_again_in_a_forked_child():
    code = f"""if True:
        import fastln, os
        before = fastln.get_num_threads()
        if os.fork() == 0:
            os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})
            os._exit(fastln.get_num_threads())
        assert os.WEXITSTATUS(os.wait()[1]) == 1
        assert fastln.get_num_threads() == before
        """
    python(code)


# Mounts as a host, a container of its own namespace, and a container without one see them.
V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n"
V2_PART = "30 24 0:26 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
V1 = "33 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
V1_PART = "33 32 0:30 /docker/c1 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
CPUSET = "34 32 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
UNIFIED = "35 32 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
OVERLAY = "23 1 0:20 / / rw - overlay overlay rw,lowerdir=" + 300 * "/layer/cgroup2:" + "/end\n"


def v1(quota, period="100000"):
    return {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}


CGROUPS = {
    "nothing": ("", "", {}, 0),
    "no_quota": (V2, "0::/app\n", {"app": {"cpu.max": "max 100000"}}, 0),
    "whole": (V2, "0::/app\n", {"app": {"cpu.max": "200000 100000"}}, 2),
    "rounded_up": (V2, "0::/app\n", {"app": {"cpu.max": "210000 100000"}}, 3),
    "below_one": (V2, "0::/app\n", {"app": {"cpu.max": "1000 100000"}}, 1),
    "large": (V2, "0::/app\n", {"app": {"cpu.max": "1000000000 100000"}}, 10_000),
    "parent": (V2, "0::/a/b/c\n", {"a": {"cpu.max": "150000 50000"}, "a/b/c": {"cpu.max": "max 100000"}}, 3),
    "least_of_all": (V2, "0::/a/b\n", {"a": {"cpu.max": "100000 50000"}, "a/b": {"cpu.max": "500000 100000"}}, 2),
    "own_namespace": (V2, "0::/\n", {"": {"cpu.max": "300000 100000"}}, 3),
    "part": (V2_PART, "0::/docker/c1/x\n", {"": {"cpu.max": "400000 100000"}, "x": {"cpu.max": "max 100000"}}, 4),
    "part_itself": (V2_PART, "0::/docker/c1\n", {"": {"cpu.max": "400000 100000"}}, 4),
    "part_of_that_name": (V2_PART, "0::/docker/c10\n", {"0": {"cpu.max": "400000 100000"}}, 0),
    "outside": (V2, "0::/../other\n", {"": {"cpu.max": "500000 100000"}, "../other": {"cpu.max": "1 1"}}, 5),
    "spaces": (V2, "0::/my app\n", {"my app": {"cpu.max": "200000 100000"}}, 2),
    "long_line_before": (OVERLAY + V2, "0::/app\n", {"app": {"cpu.max": "200000 100000"}}, 2),
    "garbage": (V2, "0::/app\n", {"app": {"cpu.max": "many"}}, 0),
    "half_a_line": (V2, "0::/app\n", {"app": {"cpu.max": "200000"}}, 0),
    "zero_period": (V2, "0::/app\n", {"app": {"cpu.max": "200000 0"}}, 0),
    "empty": (V2, "0::/app\n", {"app": {"cpu.max": ""}}, 0),
    "v1": (V1, "4:cpu,cpuacct:/app\n", {"cpu,cpuacct/app": v1("250000")}, 3),
    "v1_no_quota": (V1, "4:cpu,cpuacct:/app\n", {"cpu,cpuacct/app": v1("-1")}, 0),
    "v1_parent": (V1, "4:cpuacct,cpu:/a/b\n", {"cpu,cpuacct/a": v1("80000", "40000"), "cpu,cpuacct/a/b": v1("-1")}, 2),
    "v1_part": (V1_PART, "4:cpu,cpuacct:/docker/c1\n", {"cpu,cpuacct": v1("400000")}, 4),
    "v1_no_period": (V1, "4:cpu,cpuacct:/app\n", {"cpu,cpuacct/app": {"cpu.cfs_quota_us": "100000"}}, 0),
    "v1_cpuset_is_not_cpu": (CPUSET, "3:cpuset:/app\n", {"cpuset/app": v1("100000")}, 0),
    "v1_order": (CPUSET + V1, "3:cpuset:/no\n4:cpu,cpuacct:/app\n", {"cpu,cpuacct/app": v1("200000")}, 2),
    "hybrid": (V1 + UNIFIED, "4:cpu,cpuacct:/app\n0::/app\n", {"cpu,cpuacct/app": v1("200000"), "unified/app": {}}, 2),
    "both": (V1 + UNIFIED, "4:cpu:/a\n0::/b\n", {"cpu,cpuacct/a": v1("9", "1"), "unified/b": {"cpu.max": "7 1"}}, 7),
}


@pytest.fixture(scope="module")
def quota_program(tmp_path_factory):
    return compile_c(tmp_path_factory.mktemp("quota") / "quota", HERE / "c" / "quota.c", flags=["-fopenmp"])


@needs_openmp
@needs_linux
@pytest.mark.parametrize("case", CGROUPS)
def test_quota(case, quota_program, tmp_path):
    mounts, groups, files, expected = CGROUPS[case]
    process = tmp_path / "proc" / "self"
    process.mkdir(parents=True)
    (process / "mountinfo").write_text(mounts)
    (process / "cgroup").write_text(groups)
    for directory, contents in files.items():
        path = tmp_path / "sys/fs/cgroup" / directory
        path.mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (path / name).write_text(text + "\n" if text else "")
    assert output([quota_program], cwd=tmp_path) == f"{expected} 0"


@needs_openmp
@needs_linux
def test_quota_without_proc(quota_program, tmp_path):
    assert output([quota_program], cwd=tmp_path) == "0 0"


@needs_openmp
@needs_linux
@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ("7 (python) S 6 7 7 34816 7 4194304 0 0", 0),
        ("7 (python) S 6 7 7 0 -1 4194368 0 0", 1),
        ("7 (a) R 1 2 3 4 5 0) S 6 7 7 0 -1 4194368 0 0", 1),
        ("7 (a) R 1 2 3 4 5 4194368) S 6 7 7 0 -1 4194304 0 0", 0),
        ("7 (two\nlines) S 6 7 7 0 -1 64 0 0", 1),
        ("7 (python) S 6", 0),
        ("", 0),
    ],
)
def test_forked(stat, expected, quota_program, tmp_path):
    process = tmp_path / "proc" / "self"
    process.mkdir(parents=True)
    (process / "stat").write_text(stat)
    assert output([quota_program], cwd=tmp_path) == f"0 {expected}"


@needs_openmp
@needs_linux
@pytest.mark.parametrize("running", [1, 2, 1000])
def test_when_threads_are_used(running, tmp_path):
    program = compile_c(tmp_path / "policy", HERE / "c" / "policy.c", flags=["-fopenmp"])
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "loadavg").write_text(f"0.20 0.18 0.12 {running}/1080 11206\n")
    output([program, running], cwd=tmp_path)


# --- The setting -----------------------------------------------------------------------------------------------------


def test_set_and_get():
    for n in (1, 2, 7, np.int64(3)):
        fastln.set_num_threads(n)
        assert fastln.get_num_threads() == n
    assert type(fastln.get_num_threads()) is int


def test_upper_limit():
    """GNU's OpenMP runtime ends the process when it cannot start a thread."""
    for n in (1025, 2**31, 2**70):
        fastln.set_num_threads(n)
        assert fastln.get_num_threads() == 1024


def test_context_restores():
    fastln.set_num_threads(5)
    with fastln.num_threads(2):
        assert fastln.get_num_threads() == 2
        with fastln.num_threads(3):
            assert fastln.get_num_threads() == 3
            with fastln.num_threads(1):
                assert fastln.get_num_threads() == 1
        assert fastln.get_num_threads() == 2
    assert fastln.get_num_threads() == 5


def test_context_restores_after_an_error():
    fastln.set_num_threads(5)
    with pytest.raises(KeyError), fastln.num_threads(2):
        raise KeyError
    assert fastln.get_num_threads() == 5


@needs_openmp
@needs_affinity
def test_context_restores_the_default():
    """Not its value, which a forked child, for one, must look up for itself."""
    code = """if True:
        import fastln, os
        with fastln.num_threads(7):
            pass
        if os.fork() == 0:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            os._exit(fastln.get_num_threads())
        assert os.WEXITSTATUS(os.wait()[1]) == 1
        """
    python(code)


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (-(2**70), ValueError), (1.5, TypeError), ("2", TypeError), (None, TypeError)],
)
def test_wrong_numbers(n, error):
    fastln.set_num_threads(3)
    with pytest.raises(error):
        fastln.set_num_threads(n)
    with pytest.raises(error), fastln.num_threads(n):
        pass
    assert fastln.get_num_threads() == 3


# --- The results -----------------------------------------------------------------------------------------------------

SHAPES = [  # large enough to be split
    ((1, 3_000_000), -1),
    ((1, 1_000_003), -1),
    ((3, 500_001), -1),
    ((7, 100_003), -1),
    ((2000, 768), -1),
    ((100_000, 17), -1),
    ((8, 96, 56, 56), 1),
    ((1, 300_000, 8), 1),
    ((5, 129, 1001), 0),
]


def operations(x, axis):
    weight = np.linspace(-2, 2, x.shape[axis]).astype(x.dtype)
    yield "layer_norm", lambda: fastln.layer_norm(x, weight, weight[::-1], axis=axis, return_stats=True)
    yield "rms_norm", lambda: fastln.rms_norm(x, weight, axis=axis, return_stats=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_same_bits_on_any_number_of_threads(shape, axis, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32).astype(dtype)
    for name, compute in operations(x, axis):
        results = []
        for n in (1, 2, 3, 4):
            with fastln.num_threads(n):
                results.append([part.tobytes() for part in compute()])
        assert all(result == results[0] for result in results), name


def test_many_python_threads():
    """Calls of all sizes from eight threads at once, some of which go parallel and some find another one doing so."""
    rng = np.random.default_rng(2)
    shapes = [(1, 768), (64, 768), (1000, 768), (300, 17), (1, 700_001), (2, 5), (500, 2048), (3, 96, 1000)]
    arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    with fastln.num_threads(1):
        expected = [fastln.layer_norm(x).tobytes() for x in arrays]
    start = threading.Barrier(8)

    def body(seed):
        order = np.random.default_rng(seed).integers(len(arrays), size=200)
        start.wait()
        return [int(i) for i in order if fastln.layer_norm(arrays[i]).tobytes() != expected[i]]

    with fastln.num_threads(2), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(body, range(8))) == 8 * [[]]


@needs_openmp
def test_one_region_at_a_time(tmp_path):
    program = compile_c(tmp_path / "regions", HERE / "c" / "regions.c", SOURCES / "parallel.c", flags=["-fopenmp"])
    output([program])


def test_setting_while_others_compute():
    x = np.random.default_rng(3).standard_normal((1000, 768), dtype=np.float32)
    expected = fastln.layer_norm(x).tobytes()
    done = threading.Event()

    def body():
        n = 1
        while not done.is_set():
            fastln.set_num_threads(n)
            n = n % 4 + 1

    thread = threading.Thread(target=body)
    thread.start()
    try:
        assert all(fastln.layer_norm(x).tobytes() == expected for _ in range(100))
    finally:
        done.set()
        thread.join()


# --- What a call costs the process -----------------------------------------------------------------------------------


@needs_openmp
@needs_linux
def test_threads_are_started_by_large_work_only():
    code = """if True:
        import os
        import fastln, numpy as np
        count = lambda: len(os.listdir("/proc/self/task"))
        assert count() == 1, "import"
        for shape in (1, 768), (4, 768), (1, 10_000):
            fastln.layer_norm(np.ones(shape, np.float32))
        assert count() == 1, "small work"
        with fastln.num_threads(1):
            fastln.layer_norm(np.ones((4000, 768), np.float32))
        assert count() == 1, "one thread"
        fastln.layer_norm(np.ones((4000, 768), np.float32))
        assert count() == 2, "large work"
        fastln.layer_norm(np.ones((1, 3_000_000), np.float32))
        assert count() == 2, "one large row"
        """
    python(code, env={"FASTLN_NUM_THREADS": "2"})


@needs_linux
def test_memory_does_not_grow():
    code = """if True:
        import gc
        import fastln, numpy as np
        def resident():
            gc.collect()
            with open("/proc/self/statm") as f:
                return int(f.read().split()[1]) * 4096
        small = np.ones((4, 768), np.float32)
        image = np.ones((2, 16, 9, 9), np.float64)
        large = np.ones((1000, 768), np.float32)
        weight = np.ones(768)
        def calls(n):
            for i in range(n):
                fastln.layer_norm(small, weight, weight, return_stats=True)
                fastln.rms_norm(image, axis=1)
                fastln.layer_norm(small[:, ::2])
                if i % 100 == 0:
                    fastln.layer_norm(large)
                try:
                    fastln.layer_norm(small, np.ones(7))
                except ValueError:
                    pass
        calls(2000)
        before = resident()
        calls(20_000)
        print(resident() - before)
        """
    assert int(python(code, env={"FASTLN_NUM_THREADS": "2"}, timeout=60)) < 512 * 1024


@needs_linux
@pytest.mark.parametrize(
    "call",
    [
        "layer_norm(x, w, w, out=y)",
        "layer_norm(x, w, w, out=x)",
        "rms_norm(x, w, out=y)",
        "layer_norm(x, axis=0, out=y)",
        "layer_norm(x.reshape(1, -1), out=y.reshape(1, -1))",
        "layer_norm(x, w, w, out=f)",
        "layer_norm(f, w, w, out=y)",
        "layer_norm(x[:, ::2], w[::2], w[::2], out=y[:, ::2])",
        "layer_norm(x.reshape(-1, 2), axis=0, out=y.reshape(-1, 2))",
        "layer_norm(x.reshape(128, 128, 1024), axis=(0, 2), out=y.reshape(128, 128, 1024))",
        "rms_norm(odd, w, out=odd)",
    ],
)
def test_no_temporaries(call):
    """Neither NumPy's allocations nor the process itself grow by more than a fraction of the array's 64 MiB."""
    code = f"""if True:
        import resource, tracemalloc
        import fastln, numpy as np
        x, y, w = np.ones((16384, 1024), np.float32), np.zeros((16384, 1024), np.float32), np.ones(1024, np.float32)
        f = np.zeros((1024, 16384), np.float32).T
        odd = np.zeros(x.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(x.shape)
        y += 1
        f += 1
        odd += 1
        fastln.layer_norm(x[:4000], out=y[:4000])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tracemalloc.start()
        fastln.{call}
        print(tracemalloc.get_traced_memory()[1], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
        """
    traced, grown = map(int, python(code, env={"FASTLN_NUM_THREADS": "2"}).split())
    assert traced < 64 * 1024
    assert grown < 4 * 2**20
