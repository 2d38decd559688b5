"""Which source file gets which compiler flags, and nothing else; the rest is in pyproject.toml."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

SOURCES = sorted(path.as_posix() for path in Path("src").glob("*.c"))
HEADERS = sorted(path.as_posix() for path in Path("src").glob("*.h"))

# One instruction set per file: the others, the Python modules among them, run on every machine. No contraction and no
# fast-math, because every instruction set must give the same bits. No SLP vectorizer: that of GCC 12 takes
# (double)(float)x for x.
UNIX = [
    "-std=c11",
    "-O2",
    "-ftree-vectorize",
    "-fno-tree-slp-vectorize",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-g0",  # Python's own flags ask for debug symbols: nine tenths of the wheel
]
UNIX_OWN = {
    "isa_avx2": ["-mavx2", "-mfma", "-mf16c"],
    "isa_avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c"],
    "parallel": ["-fopenmp"],
    "strided": ["-O3"],
}
MSVC = ["/std:c11", "/O2", "/fp:precise"]
MSVC_OWN = {"isa_avx2": ["/arch:AVX2"], "isa_avx512": ["/arch:AVX512"], "parallel": ["/openmp"]}


class build_kernels(build_ext):
    def build_extension(self, ext):
        if ext.name == "fastln._core":
            self.add_kernels(ext)
        if self.compiler.compiler_type != "msvc":
            ext.extra_compile_args.append("-g0")
        ext.sources = cythonize(ext, build_dir=self.build_temp, force=self.force)[0].sources
        super().build_extension(ext)

    def add_kernels(self, ext):
        msvc = self.compiler.compiler_type == "msvc"
        common, own = (MSVC, MSVC_OWN) if msvc else (UNIX, UNIX_OWN)

        def make(source):
            flags = own.get(Path(source).stem, [])
            if flags and not self.accepts(flags):
                print(f"fastln: the compiler does not know {' '.join(flags)}: {source} is built without it")
                flags = []
            [target] = self.compiler.object_filenames([source], output_dir=self.build_temp)
            if self.force or newer_group([source, *HEADERS, __file__], target):
                self.compiler.compile([source], output_dir=self.build_temp, extra_postargs=common + flags)
            return target, flags

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = dict(zip(SOURCES, pool.map(make, SOURCES), strict=True))
        ext.extra_objects += [target for target, _ in made.values()]
        if not msvc:
            ext.libraries.append("m")
            ext.extra_link_args += made["src/parallel.c"][1]

    def accepts(self, flags):
        """Whether the compiler makes a library with them; the linker must know -fopenmp, too."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text("int probe(void) { return 0; }\n")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                self.compiler.link_shared_object(objects, str(Path(folder, "probe.so")), extra_postargs=flags)
            except Exception:  # whatever this compiler class raises
                return False
        return True


def extension(name, depends):
    return Extension(
        f"fastln.{name}",
        [f"fastln/{name}.pyx"],
        include_dirs=["src", numpy.get_include()],
        depends=depends,
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_1_23_API_VERSION"),
        ],
    )


setup(
    ext_modules=[
        extension("_core", [*SOURCES, *HEADERS, __file__]),
        extension("kernels", ["src/fastln.h", __file__]),
        extension("_cells", ["src/fastln.h", "src/cells.h", __file__]),
    ],
    cmdclass={"build_ext": build_kernels},
)
