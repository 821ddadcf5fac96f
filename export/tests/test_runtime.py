"""Taking the runtime's libraries out of a wheel: which, and under which names."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
import unittest
import zipfile
from concurrent.futures import Future
from pathlib import Path

from poq_export import elf, runtime
from poq_export.registry import RegistryError, Runtime, RuntimePackage
from poq_export.wheels import WheelError

SHIFT = 0x1000  # addresses lie so far above places in the file, so that the two cannot be mixed up


def library(*needed: str) -> bytes:
    """The smallest shared library that asks for others."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    places = [1 + sum(len(name) + 1 for name in needed[:number]) for number in range(len(needed))]
    strings = 64 + 2 * 56
    dynamic = strings + len(names)
    entries = [(elf.NEEDED, place) for place in places] + [(elf.STRING_TABLE, strings + SHIFT), (elf.END, 0)]
    table = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    size = dynamic + len(table)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    segments = struct.pack("<IIQQQQQQ", elf.LOADABLE, 4, 0, SHIFT, SHIFT, size, size, 1)
    segments += struct.pack("<IIQQQQQQ", elf.DYNAMIC, 4, dynamic, dynamic + SHIFT, 0, len(table), len(table), 8)
    return header + segments + names + table


class Store:
    """Stands in for the wheel store; counts the downloads."""

    def __init__(self, wheel: Path) -> None:
        self._wheel = wheel
        self.requests: list[str] = []

    def request(self, package: str, version: str) -> Future[Path]:
        self.requests.append(f"{package}=={version}")
        done: Future[Path] = Future()
        done.set_result(self._wheel)
        return done


class Libraries(unittest.TestCase):
    MEMBERS = {
        "libonnxruntime.so.1.24.1": library("libc.so.6"),
        "libonnxruntime_providers_shared.so": library(),
        "libonnxruntime_providers_openvino.so": library("libopenvino.so.2541", "libc.so.6"),
        "libopenvino.so": library("libtbb.so.12"),
        "libopenvino.so.2541": library("libtbb.so.12"),
        "libopenvino_intel_cpu_plugin.so": library("libopenvino.so.2541"),
        "libopenvino_intel_gpu_plugin.so": library("libOpenCL.so.1"),
        "libtbb.so.12": library(),
        "onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so": library(),
    }

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        quiet = contextlib.ExitStack()
        quiet.enter_context(contextlib.redirect_stderr(io.StringIO()))
        self.addCleanup(quiet.close)
        self.models = Path(scratch.name)
        self.wheel = self.models / "toy.whl"
        with zipfile.ZipFile(self.wheel, "w") as wheel:
            for name, content in self.MEMBERS.items():
                wheel.writestr(f"onnxruntime/capi/{name}", content)

    def test_the_name_loses_its_version(self) -> None:
        self.assertEqual(runtime.library_name("onnxruntime/capi/libonnxruntime.so.1.31.1"), "libonnxruntime.so")
        self.assertEqual(runtime.library_name("capi/libonnxruntime_providers_shared.so"), runtime.SHARED)

    def test_needed_libraries_are_read_from_the_bytes(self) -> None:
        self.assertEqual(elf.needed(library("liba.so.1", "libb.so")), ["liba.so.1", "libb.so"])
        self.assertEqual(elf.needed(library()), [])
        with self.assertRaises(elf.ElfError):
            elf.needed(b"#!/bin/sh")

    def test_a_provider_gets_what_its_libraries_need_and_each_once(self) -> None:
        store = Store(self.wheel)
        packages = Runtime("plain", "1", openvino=RuntimePackage("other", "2"))
        folder = self.models / "runtime-openvino"
        folder.mkdir()
        (folder / "libopenvino.so.2400").touch()
        for _ in range(2):  # the second time finds it in place
            runtime.extract(packages, "openvino", self.models, store, False)
        self.assertEqual(store.requests, ["other==2"])
        self.assertEqual((folder / "version.txt").read_text(), "other==2\n")
        self.assertEqual(
            sorted(path.name for path in folder.iterdir()),
            ["libonnxruntime.so", "libonnxruntime_providers_openvino.so", "libonnxruntime_providers_shared.so",
             "libopenvino.so.2541", "libopenvino_intel_cpu_plugin.so", "libtbb.so.12", "version.txt"],
        )  # fmt: skip

    def test_the_plain_runtime_lies_where_it_always_did(self) -> None:
        runtime.extract(Runtime("plain", "1"), "cpu", self.models, Store(self.wheel), False)
        names = sorted(path.name for path in (self.models / "runtime").iterdir())
        self.assertEqual(names, ["libonnxruntime.so", "libonnxruntime_providers_shared.so", "version.txt"])

    def test_a_wheel_without_the_provider_is_refused(self) -> None:
        packages = Runtime("plain", "1", cuda=RuntimePackage("other", "2"))
        with self.assertRaisesRegex(WheelError, "libonnxruntime_providers_cuda.so"):
            runtime.extract(packages, "cuda", self.models, Store(self.wheel), False)
        self.assertFalse((self.models / "runtime-cuda" / "version.txt").exists())

    def test_an_unlisted_provider_is_refused_with_the_listed_ones(self) -> None:
        with self.assertRaisesRegex(RegistryError, "`openvino`.*it has: cpu$"):
            runtime.extract(Runtime("plain", "1"), "openvino", self.models, Store(self.wheel), False)


if __name__ == "__main__":
    unittest.main()
