"""What is said where CUDA does not work, before a model is fetched; there is no GPU here, so that most of it is pretended."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import cuda_on_cpu
import onnxruntime
from poq_export import cuda_trial, machine, preflight, providers
from poq_export.providers import ProviderError
from test_runtime import library

NO_CARD = "[ONNXRuntimeError] : 1 : cuda_call.cc:154 CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; file=x"


def dying() -> None:
    """As a driver may end a process."""
    os._exit(9)


def refusing(what: str) -> str:
    """As a trial that finds something."""
    return f"no {what}"


class Libraries(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def test_all_that_the_loader_does_not_find_are_named(self) -> None:
        path = self.folder / providers.LIBRARY
        path.write_bytes(library("libbeside.so", "libc.so.6", "libnone.so.13", "libcuda.so.none"))
        (self.folder / "libbeside.so").touch()
        self.assertEqual(providers.missing_libraries(path), ["libnone.so.13", "libcuda.so.none"])

    def test_they_are_an_error_that_says_where_each_comes_from(self) -> None:
        path = self.folder / "capi" / providers.LIBRARY
        path.parent.mkdir()
        path.write_bytes(library("libnone.so.13"))
        where = mock.patch.object(onnxruntime, "__file__", str(self.folder / "__init__.py"))
        with where, mock.patch.object(onnxruntime, "preload_dlls", create=True):
            with self.assertRaisesRegex(ProviderError, "does not find libnone.so.13, .*`just reference-environment cuda` "):
                providers.load_libraries()
        self.assertNotIn("just", providers.source([providers.DRIVER]))
        self.assertRegex(providers.source([providers.DRIVER, "libnone.so"]), "belongs to NVIDIA's driver; `just ")


class Sessions(unittest.TestCase):
    def setUp(self) -> None:
        cuda_on_cpu.stand_in(self)

    def test_the_trial_is_a_graph_that_runs(self) -> None:
        for evaluators in (False, True):
            cuda_trial.run(evaluators, "cpu")

    def test_a_card_that_does_not_open_is_told_in_cudas_words_and_is_no_fallback(self) -> None:
        with mock.patch("onnxruntime.InferenceSession", side_effect=RuntimeError(NO_CARD)) as opened:
            with self.assertRaisesRegex(ProviderError, "on the card: CUDA failure 100: no CUDA-capable device is detected$"):
                cuda_trial.run(evaluators=False)
        self.assertEqual(opened.call_args.kwargs["enable_fallback"], 0)

    def test_an_error_of_the_graph_stays_what_it_is(self) -> None:
        with self.assertRaisesRegex(Exception, "INVALID_PROTOBUF|Failed to load model"):
            providers.session(b"no graph", "cuda")

    def test_evaluators_alone_miss_cudnn(self) -> None:
        with mock.patch.object(providers, "is_found", return_value=False):
            cuda_trial.run(evaluators=False)
            with self.assertRaisesRegex(ProviderError, "does not find libcudnn.so.9, .*of evaluators; `just "):
                cuda_trial.run(evaluators=True)

    def test_memory_that_ran_out_is_recognised(self) -> None:
        for said in (
            "bfc_arena.cc:360 AllocateRawInternal Failed to allocate memory for requested buffer of size 130048",
            "CUDA failure 2: out of memory ; GPU=0", "CUDA out of memory. Tried to allocate 2.00 GiB",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        ):  # fmt: skip
            self.assertTrue(providers.is_out_of_memory(RuntimeError(said)), said)
        self.assertFalse(providers.is_out_of_memory(RuntimeError(NO_CARD)))


class Trial(unittest.TestCase):
    @unittest.skipIf("CUDAExecutionProvider" in onnxruntime.get_available_providers(), "this ONNX Runtime has CUDA")
    def test_what_onnxruntime_says_comes_back_from_its_process(self) -> None:
        (found,) = cuda_trial.problems(evaluators=True, torch=False)
        self.assertIn("has no CUDAExecutionProvider", found)

    @unittest.skipIf(importlib.util.find_spec("torch") is not None, "torch is installed")
    def test_torch_is_asked_where_it_records(self) -> None:
        found = cuda_trial.problems(evaluators=False, torch=True)
        self.assertRegex(found[-1], "where torch does not compute: No module named 'torch'")

    def test_a_process_that_dies_is_a_problem(self) -> None:
        self.assertRegex(cuda_trial._alone(dying), "ended without a word")
        self.assertEqual(cuda_trial._alone(refusing, "card"), "no card")


class TooOld(unittest.TestCase):
    def test_driver_and_card_are_held_to_cuda_13_and_bf16(self) -> None:
        for driver, capability, in_bf16, expected in (
            ("580.65.06", (8, 0), True, []),
            ("580.65.06", (7, 5), False, []),
            ("550.54", (9, 0), True, ["the driver of T is 550.54, CUDA 13 takes 580 or newer"]),
            ("590.1", (7, 5), True, ["T has compute capability 7.5, arithmetic in bf16 takes 8.0 or higher"]),
            ("590.1", (6, 1), False, ["T has compute capability 6.1, CUDA 13 takes 7.5 or higher"]),
            (None, None, True, []),
        ):
            with self.subTest(driver=driver, capability=capability):
                self.assertEqual(preflight.too_old(machine.Card("T", 1, driver, capability), in_bf16), expected)


if __name__ == "__main__":
    unittest.main()
