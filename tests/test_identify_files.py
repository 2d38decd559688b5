"""examples/identify_files.py: a trained network through fastln, held against ONNX Runtime and against Magika itself."""

import builtins
import bz2
import gzip
import importlib.util
import io
import lzma
import os
import pickle
import plistlib
import py_compile
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import sysconfig
import tarfile
import wave
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

PACKAGES = ["magika", "onnx", "onnxruntime", "tqdm"]
for package in PACKAGES:  # looked for, not imported: ONNX Runtime would stay in the process that runs all other tests
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "identify_files.py"
NOBODY = 65534
TOLERANCE = 2e-3

KINDS_OF_TEXT = r"""
==== a.c
#include <stdio.h>

int main(int argc, char **argv) {
    printf("%d\n", argc);
    return 0;
}
==== a.cpp
#include <vector>
namespace n {
template <class T> class Box : public Base {
 public:
  explicit Box(T t) : t_(std::move(t)) {}
 private:
  std::vector<T> t_;
};
}  // namespace n
==== a.py
import os


def size(path):
    'Bytes.'
    return os.stat(path).st_size


print(size('.'))
==== a.js
const fs = require('fs');
module.exports = async function (name) {
  let x = await fs.read(name);
  console.log(`read ${x.length}`);
  return x === null ? undefined : x;
};
==== a.ts
export interface Row { id: number; name?: string }
export const pick = <T extends Row>(r: T): number => r.id;
enum Color { Red, Green }
let c: Color = Color.Red as Color;
==== a.java
package org.example;

import java.util.List;

public class Main {
    public static void main(String[] args) {
        System.out.println(List.of(args));
    }
}
==== a.go
package main

import "fmt"

func main() {
	for i := 0; i < 3; i++ {
		fmt.Println(i)
	}
}
==== a.rs
use std::fs;

fn main() -> std::io::Result<()> {
    let text = fs::read_to_string("a")?;
    println!("{}", text.len());
    Ok(())
}
==== a.rb
require 'json'

class Row
  attr_reader :name
  def initialize(name)
    @name = name
  end
end
puts Row.new('x').name.upcase unless ARGV.empty?
==== a.php
<?php
namespace App;
class Row {
    public function __construct(private string $name) {}
}
echo (new Row($_GET['name']))->name;
==== a.lua
local M = {}
function M.add(a, b)
  if a == nil then return b end
  return a + b
end
return M
==== a.sh
#!/bin/sh
set -eu
for f in "$@"; do
    if [ -f "$f" ]; then
        wc -c < "$f"
    fi
done
==== a.sql
CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO rows VALUES (1, 'a');
SELECT name FROM rows WHERE id > 0 ORDER BY name;
==== a.html
<!DOCTYPE html>
<html>
<head><title>T</title></head>
<body><p class="a">text</p></body>
</html>
==== a.css
body { margin: 0; color: #333 }
.row > a:hover { text-decoration: none; }
@media print { nav { display: none } }
==== a.xml
<?xml version="1.0" encoding="UTF-8"?>
<rows>
  <row id="1"><name>a</name></row>
</rows>
==== a.svg
<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0 L9 9 Z" fill="red"/></svg>
==== a.json
{
  "name": "a",
  "rows": [1, 2.5, null, true],
  "nested": {"key": "value"}
}
==== a.jsonl
{"id": 1, "name": "a"}
{"id": 2, "name": "b"}
{"id": 3, "name": "c"}
==== a.yaml
name: build
on: [push]
jobs:
  test:
    runs-on: linux
    steps:
      - run: make test
==== a.toml
[project]
name = "a"
version = "0.1"
dependencies = ["numpy>=1.23"]

[tool.x]
line-length = 120
==== a.ini
[core]
; a comment
editor = vi

[user]
name = A
mail = a@example.org
==== a.md
# Title

Some *text* with a [link](http://example.org).

- one
- two

```python
print(1)
```
==== a.rst
Title
=====

.. code-block:: python

   print(1)

See :ref:`other` and ``literal``.

.. note:: text
==== a.tex
\documentclass{article}
\begin{document}
\section{One}
Text with $x^2$.
\end{document}
==== a.diff
--- a/x.c
+++ b/x.c
@@ -1,3 +1,3 @@
 int x;
-int y = 1;
+int y = 2;
 int z;
==== Makefile
CFLAGS = -O2

all: a.o
	cc -o a a.o

%.o: %.c
	cc $(CFLAGS) -c $<

.PHONY: all
==== Dockerfile
FROM debian:12
RUN apt-get update && apt-get install -y gcc
COPY . /src
WORKDIR /src
CMD ["make"]
==== a.eml
From: a@example.org
To: b@example.org
Subject: Hello
MIME-Version: 1.0
Content-Type: text/plain

Hello b,
"""
TEXTS = dict(part.split("\n", 1) for part in KINDS_OF_TEXT.split("==== ")[1:])
TEXTS |= {
    "a.csv": "id,name,price\n" + "".join(f"{i},row {i},{i}.50\n" for i in range(40)),
    "a.bat": "@echo off\r\nset X=1\r\nif exist a.txt (\r\n  del a.txt\r\n)\r\ngoto :eof\r\n",
    "a.pem": "-----BEGIN CERTIFICATE-----\n" + "MIIBszCCAVmgAwIBAgIUJk3\n" * 20 + "-----END CERTIFICATE-----\n",
    "a.txt": "It was a quiet morning, and nobody in the house had yet thought of breakfast.\n" * 80,
    "spaces.py": "\n" * 3000 + "import sys\n\nfor line in sys.stdin:\n    print(line.strip())\n" + " " * 2000,
}
BY_RULE = {"one.bin": b"\xff\xfe\x00", "seven.txt": b"seven b", "white.txt": b" \n\t" * 2000 + b"end"}


def zip_bytes(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            # Without a date of its own a member gets the time of day, and the network would read that, too.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tar_bytes(mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, text in TEXTS.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def png_bytes(rng):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = b"".join(b"\0" + rng.bytes(3 * 32) for _ in range(32))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def wav_bytes(rng):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(rng.bytes(8000))
    return buffer.getvalue()


def npy_bytes(rng):
    buffer = io.BytesIO()
    np.save(buffer, rng.standard_normal((40, 30)))
    return buffer.getvalue()


def sqlite_bytes(folder):
    database = sqlite3.connect(folder / "temporary.db")
    with database:
        database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT)")
        database.executemany("INSERT INTO rows (name) VALUES (?)", [(f"row {i}",) for i in range(100)])
    database.close()
    return (folder / "temporary.db").read_bytes()


def pyc_bytes(folder):
    (folder / "temporary.py").write_text(TEXTS["a.py"])
    return Path(py_compile.compile(folder / "temporary.py", cfile=folder / "temporary.pyc")).read_bytes()


def binaries(folder):
    rng = np.random.default_rng(7)
    text = "".join(TEXTS.values()).encode()
    pdf = (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Count 0 >>\nendobj\n"
    )
    bmp = struct.pack("<IIIIiiHHIIiiII", 3126, 0, 54, 40, 32, 32, 1, 24, 0, 3072, 0, 0, 0, 0)
    return {
        "a.zip": zip_bytes(TEXTS),
        "a.jar": zip_bytes({"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\n", "org/A.class": "\xca\xfe\xba\xbe" * 40}),
        "a.gz": gzip.compress(text, mtime=0),
        "a.bz2": bz2.compress(text),
        "a.xz": lzma.compress(text),
        "a.zz": zlib.compress(text),
        "a.tar": tar_bytes("w"),
        "a.png": png_bytes(rng),
        "a.gif": b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0xF7, 0, 0) + rng.bytes(768) + rng.bytes(300) + b"\0;",
        "a.bmp": b"BM" + bmp + rng.bytes(3072),
        "a.wav": wav_bytes(rng),
        "a.npy": npy_bytes(rng),
        "a.pdf": pdf + b"xref\n0 3\ntrailer\n<< /Size 3 /Root 1 0 R >>\nstartxref\n110\n%%EOF\n",
        "a.sqlite": sqlite_bytes(folder),
        "a.pickle": pickle.dumps({"rows": list(range(300)), "name": "a" * 50}),
        "a.pyc": pyc_bytes(folder),
        "a.plist": plistlib.dumps({f"key{i}": i for i in range(50)}, fmt=plistlib.FMT_BINARY),
        "a.wasm": b"\0asm\1\0\0\0\1\7\1\x60\2\x7f\x7f\1\x7f\3\2\1\0\7\7\1\3add\0\0\n\t\1\7\0 \0 \1j\v",
        "latin1.txt": b"caf\xe9, na\xefve and \xfcber are words of other languages.\n" * 30,
        "random.bin": rng.bytes(20000),
        "zeros.bin": bytes(5000),
    }


@pytest.fixture(scope="session")
def example():
    spec = importlib.util.spec_from_file_location("identify_files", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Files of many kinds, made here, and the interpreter's own executable and library code."""
    folder = tmp_path_factory.mktemp("samples")
    for name, content in binaries(tmp_path_factory.mktemp("scratch")).items():
        (folder / name).write_bytes(content)
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text.encode())
    os.symlink(os.path.realpath(sys.executable), folder / "python")
    os.symlink(importlib.util.find_spec("fastln._core").origin, folder / "module.so")
    os.symlink(sysconfig.get_path("stdlib"), folder / "library")  # a linked folder: not followed
    os.symlink(Path(sysconfig.get_path("stdlib")) / "argparse.py", folder / "argparse.py")
    return folder


def run(*arguments, cwd, **options):
    command = [sys.executable, EXAMPLE, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options)


def run_as_module(before, *arguments, cwd):
    """After some Python code in the same process, with the script's folder on the path, as Python puts it there."""
    argv, folder = ["identify_files.py", *map(str, arguments)], str(EXAMPLE.parent)
    code = f"{before}\nimport runpy, sys\nsys.argv = {argv}\nsys.path.insert(0, {folder!r})\n"
    code += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def lines_by_path(output):
    """{path: what its line says}"""
    return dict(re.split(r"  +", line, maxsplit=1) for line in output.split("\n\n")[0].splitlines())


def number(pattern, output):
    found = re.search(pattern, output)
    assert found, output
    return float(found[1])


# The whole program


@pytest.fixture(scope="session")
def compared(samples):
    return run("--compare", "--batch", "16", ".", cwd=samples)


def test_agrees_with_onnx_runtime_on_files_of_many_kinds(compared):
    assert compared.returncode == 0, compared.stderr + compared.stdout
    agreeing, files = map(int, re.search(r"(\d+) of (\d+) labels agree", compared.stdout).groups())
    assert files >= 50
    ties = len(re.findall(r"a tie\.$", compared.stdout, re.MULTILINE))
    assert agreeing + ties == files
    assert number(r"largest score difference (\S+) ", compared.stdout) <= TOLERANCE, compared.stdout
    assert "E[x^2] - E[x]^2, which by itself costs up to 1e-3" in compared.stdout


def test_labels_and_scores_are_magikas(compared, samples):
    import magika

    session = magika.Magika()
    lines = lines_by_path(compared.stdout)
    assert len(lines) == len(os.listdir(samples)) - 1
    for path, line in lines.items():
        expected = session.identify_path(samples / path).prediction
        assert line.split()[0] == expected.output.label, (path, line)
        assert float(line.split()[1]) == pytest.approx(expected.score, abs=TOLERANCE), (path, line)


def test_labels_are_right_where_there_is_no_doubt(compared):
    expected = {"a.png": "png", "a.gz": "gzip", "a.tar": "tar", "a.pdf": "pdf", "python": "elf"}
    expected |= {"a.py": "python", "a.c": "c", "a.json": "json", "a.sqlite": "sqlite", "random.bin": "unknown"}
    lines = lines_by_path(compared.stdout)
    assert {path: lines[f"./{path}"].split()[0] for path in expected} == expected


def test_prints_times(compared):
    assert re.search(r"^\d+ files in \S+ s$", compared.stdout, re.MULTILINE)
    fastln = number(r"Normalization: (\S+) s with fastln", compared.stdout)
    formula = number(r"NumPy's formula on the same arrays: (\S+) s", compared.stdout)
    assert 0 < fastln < number(r"files in (\S+) s", compared.stdout)
    assert number(r"(\S+) times as long", compared.stdout) == pytest.approx(formula / fastln, rel=0.2, abs=0.1)


def test_batches_do_not_change_the_output(compared, samples):
    expected = lines_by_path(compared.stdout)
    for batch in ("1", "7"):
        lines = lines_by_path(run("--batch", batch, ".", cwd=samples).stdout)
        assert list(lines) == list(expected)
        for path, line in lines.items():
            assert line.split()[0] == expected[path].split()[0]
            assert float(line.split()[1]) == pytest.approx(float(expected[path].split()[1]), abs=1.01e-4)


def test_bad_paths_get_a_line_each_and_the_rest_goes_on(tmp_path):
    tmp_path.joinpath("ten.txt").write_bytes(b"ten bytes.")
    tmp_path.joinpath("empty").touch()
    for name, content in BY_RULE.items():
        tmp_path.joinpath(name).write_bytes(content)
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    os.symlink("nowhere", folder / "broken")
    os.symlink("loop", folder / "loop")
    os.symlink(".", folder / "self")
    folder.joinpath("new\nline \udcff.py").write_text(TEXTS["a.py"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket"))
        result = run("missing", "ten.txt", "empty", *BY_RULE, "folder", "ten.txt/x", "/dev/zero", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == ""
    lines = lines_by_path(result.stdout)
    assert re.fullmatch(r"txt \d\.\d{4}( .*)?", lines.pop("ten.txt"))
    assert re.match(r"python \d\.\d{4}", lines.pop(r"folder/new\nline \udcff.py"))
    assert lines == {
        "missing": "cannot be read: No such file or directory",
        "empty": "empty",
        "one.bin": "unknown (by rule: too few bytes for the network)",
        "seven.txt": "txt (by rule: too few bytes for the network)",
        "white.txt": "txt (by rule: too few bytes for the network)",
        "folder/broken": "cannot be read: No such file or directory",
        "folder/loop": "cannot be read: Too many levels of symbolic links",
        "folder/pipe": "cannot be read: neither a file nor a folder",
        "folder/socket": "cannot be read: neither a file nor a folder",
        "ten.txt/x": "cannot be read: Not a directory",
        "/dev/zero": "cannot be read: neither a file nor a folder",
    }
    assert "\n6 files in " in result.stdout
    assert "; 7 paths could not be read" in result.stdout


def test_what_may_not_be_read_gets_a_line(example, tmp_path, monkeypatch, capsys):
    """As a user without rights. The super-user, who may read everything, gives them up for each opening."""

    def without_rights(function):
        def call(*arguments, **options):
            if os.geteuid() != 0:
                return function(*arguments, **options)
            os.seteuid(NOBODY)
            try:
                return function(*arguments, **options)
            finally:
                os.seteuid(0)

        return call

    for name in ("locked", "open"):
        tmp_path.joinpath(name).mkdir()
        tmp_path.joinpath(name, "a.py").write_text(TEXTS["a.py"])
    tmp_path.joinpath("open", "secret.py").write_text(TEXTS["a.py"])
    tmp_path.chmod(0o755)
    tmp_path.joinpath("locked").chmod(0)
    tmp_path.joinpath("open", "secret.py").chmod(0)
    monkeypatch.chdir(tmp_path)
    example.main(["open/a.py"])  # loads what is only loaded once, with all rights
    capsys.readouterr()
    real_open = builtins.open

    def guarded_open(path, *arguments, **options):
        guard = without_rights if str(path).startswith("open") else lambda function: function
        return guard(real_open)(path, *arguments, **options)

    monkeypatch.setattr(os, "listdir", without_rights(os.listdir))
    monkeypatch.setattr(builtins, "open", guarded_open)
    assert example.main(["locked", "open"]) == 1
    lines = lines_by_path(capsys.readouterr().out)
    tmp_path.joinpath("locked").chmod(0o755)
    assert re.match(r"python \d\.\d{4}", lines.pop("open/a.py"))
    denied = "cannot be read: Permission denied"
    assert lines == {"locked": denied, "open/secret.py": denied}


def test_few_equal_bytes_are_judged_by_float64(tmp_path):
    """There the graph's own variances cost up to 4e-2. The scores here must be those of the network in float64."""
    for length in (8, 12, 40, 200):
        for byte in b"0bx[\x00":
            tmp_path.joinpath(f"{length}-{byte}").write_bytes(bytes([byte]) * length)
    result = run("--compare", "--batch", "100", ".", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert number(r"scores here are off by at most (\S+) ", result.stdout) <= 2e-5
    assert number(r"those of ONNX Runtime by (\S+)\.", result.stdout) > TOLERANCE


def test_nothing_for_the_network(tmp_path):
    tmp_path.joinpath("empty").touch()
    result = run(".", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert lines_by_path(result.stdout) == {"./empty": "empty"}
    result = run("--compare", ".", cwd=tmp_path)
    assert result.returncode == 0
    assert "0 of 0 labels agree" in result.stdout


def test_only_the_ends_of_a_large_file_are_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.write(TEXTS["a.py"].encode() * 100)
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(TEXTS["a.py"].encode() * 100)
    assert run("large", cwd=tmp_path).stdout.startswith("large  python ")


def test_command_line(tmp_path):
    assert "--compare" in run("--help", cwd=tmp_path).stdout
    for arguments in ((), ("--batch", "0", "."), ("--batch", "x", ".")):
        result = run(*arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert "usage:" in result.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_missing_package_is_named(package, tmp_path):
    if package == "magika":
        hide = "import importlib.util\nimportlib.util.find_spec = lambda name: None"
    else:
        hide = f"import sys\nsys.modules[{package!r}] = None"
    result = run_as_module(hide, "--compare", ".", cwd=tmp_path)
    assert result.returncode == 2
    assert package in result.stderr
    assert 'python -m pip install ".[examples]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_onnx_runtime_is_imported_only_to_compare(tmp_path):
    report = "import atexit, sys\natexit.register(lambda: print({'onnx', 'onnxruntime', 'magika'} & set(sys.modules)))"
    result = run_as_module(report, EXAMPLE, cwd=tmp_path)
    assert result.stdout.endswith("\n{'onnx'}\n"), result


def test_interruption_is_polite(samples):
    command = [sys.executable, EXAMPLE, "--batch", "1", *["a.py"] * 2000]
    process = subprocess.Popen(
        command,
        cwd=samples,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    try:
        assert process.stdout.readline().startswith("a.py")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (130, "identify_files.py: interrupted\n")


def test_reader_that_stops_reading(samples):
    command = [sys.executable, EXAMPLE, "--batch", "1", *["a.py"] * 300]
    process = subprocess.Popen(command, cwd=samples, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_progress_bar_on_a_terminal(samples):
    import fcntl
    import pty
    import termios

    terminal, other_end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, EXAMPLE, "--batch", "8", "."]
    process = subprocess.Popen(command, cwd=samples, stdout=subprocess.PIPE, stderr=other_end, text=True)
    os.close(other_end)
    output, _ = process.communicate(timeout=120)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    files = len(lines_by_path(output))
    assert f"/{files} [" in shown
    assert "file/s" in shown or "s/file" in shown


# The network, stage by stage


@pytest.fixture(scope="session")
def model(example):
    return example.model_folder() / "models" / example.MODEL / "model.onnx"


@pytest.fixture(scope="session")
def network(example, model):
    return example.Network(example.load_tensors(model), example.Stopwatch())


@pytest.fixture(scope="session")
def tokens():
    return np.random.default_rng(3).integers(0, 257, (6, 2048), dtype=np.int32)


@pytest.fixture(scope="session")
def stages(example, model, tokens):
    """What ONNX Runtime has after each stage, for random tokens."""
    import onnx
    import onnxruntime

    names = {
        "embedded": example.LAYERS + "Reshape:0",
        "normalized": example.LAYERS + "LayerNorm_0/AddV2_1:0",
        "pooled": example.LAYERS + "Max_Squeeze__213:0",
        "normalized again": example.LAYERS + "LayerNorm_1/AddV2_1:0",
        "scores": "target_label",
    }
    graph = onnx.load(model)
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names.values() if name != "target_label")
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(list(names.values()), {"bytes": tokens}), strict=True))


def test_each_stage_agrees_with_onnx_runtime(network, tokens, stages):
    """Each stage is given what ONNX Runtime gives to its own, so that an error shows where it arises."""
    close = {"rtol": 2e-5, "atol": 2e-5}
    np.testing.assert_allclose(network.embed(tokens), stages["embedded"], rtol=1e-6, atol=1e-6)
    normalized = network.normalize(stages["embedded"].copy(), *network.positions_norm, axis=1)
    np.testing.assert_allclose(normalized, stages["normalized"], **close)
    np.testing.assert_allclose(network.convolve_and_pool(stages["normalized"]), stages["pooled"], **close)
    normalized = network.normalize(stages["pooled"].copy(), *network.pooled_norm, axis=-1)
    np.testing.assert_allclose(normalized, stages["normalized again"], **close)
    np.testing.assert_allclose(network(tokens), stages["scores"], rtol=0, atol=1e-5)


def test_float64_network_agrees(example, model, network, tokens):
    exact = example.Float64Network(example.load_tensors(model))(tokens)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(network(tokens), exact, rtol=0, atol=5e-6)


def test_every_normalization_is_timed_and_done_by_fastln(example, network, tokens, monkeypatch):
    calls = []
    layer_norm = example.fastln.layer_norm

    def recording(x, weight, bias, eps, *, axis, out):
        calls.append((x.shape, axis, eps))
        return layer_norm(x, weight, bias, eps, axis=axis, out=out)

    monkeypatch.setattr(example.fastln, "layer_norm", recording)
    network.stopwatch.seconds.clear()
    network(tokens)
    eps = float(np.float32(1e-6))
    assert calls == [((6, 512, 256), 1, eps), ((6, 512), -1, eps)]
    assert network.stopwatch.seconds["fastln"] > 0
    assert network.stopwatch.seconds["NumPy's formula"] > 0


def test_eps_is_what_the_graph_adds_to_both_variances(example, model):
    import onnx

    nodes = {node.name: node for node in onnx.load(model).graph.node}
    for layer in ("LayerNorm_0", "LayerNorm_1"):
        assert example.TENSOR_NAMES["eps"] in nodes[f"{example.LAYERS}{layer}/AddV2"].input


def test_gelu_is_largest_at_an_end(example):
    """What lets max-pooling go before GELU: no value in between is larger than both ends."""
    x = np.linspace(-12, 12, 20001)
    y = example.gelu(x)
    turn = y.argmin()
    assert (np.diff(y[: turn + 1]) <= 1e-15).all()  # far below zero, 1 + tanh is a few roundings
    assert (np.diff(y[turn:]) >= 0).all()


def test_unknown_network_is_refused(example, model, tmp_path):
    import onnx

    graph = onnx.load(model)
    graph.graph.initializer[0].name, graph.graph.initializer[-1].name = "x", "y"
    del graph.graph.initializer[5:]
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(example.SetupError, match="not the network"):
        example.load_tensors(tmp_path / "other.onnx")
