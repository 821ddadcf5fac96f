"""Recordings made right before a gate: kept, made again when they no longer fit, and what is said where none can be made."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import record_for_gate
from poq_export import checkpoint_decoder, decoder_gate, manifest, pipeline, providers, recording, references
from poq_export.decoder_gate import GateFailure
from poq_export.graph import EXTERNAL_DATA
from poq_export.precision import BF16, F16, F32
from poq_export.providers import ProviderError
from poq_export.recipes import RECIPES
from poq_export.recording import RecordingError
from poq_export.registry import Model, RegistryError
from poq_export.target import Target
from poq_export.wheels import WheelStore
from test_checkpoint_decoder import FILES, Case, model
from tiny_families import FAMILIES

HAS_TORCH = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
ANSWER = {"reference": "nobody", "inputs": []}


class RecordingCase(Case):
    def setUp(self) -> None:
        super().setUp()
        self.out_dir = self.folder / "out"
        self.out_dir.mkdir()
        self.absent = self.folder / "absent.json"

    def entry(self, name: str = "llama", **export: Any) -> tuple[Model, dict[str, Path]]:
        """A registry entry without a committed recording, and its files."""
        tiny = dataclasses.replace(FAMILIES[name], name=f"{name}_here")
        files = self.checkpoint(tiny)
        entry = dataclasses.replace(model(tiny, artifacts=files), files=[*FILES, EXTERNAL_DATA])
        return dataclasses.replace(entry, export=dataclasses.replace(entry.export, **export)), files


class Targets(RecordingCase):
    def test_a_decoder_in_half_precision_has_a_directory_and_a_description_of_its_own(self) -> None:
        entry, _ = self.entry(cuda_precision="bf16")
        cpu, cuda = Target.of(entry, "cpu"), Target.of(entry, "cuda")
        self.assertEqual((cpu.provider, cpu.precision, cuda.provider, cuda.precision), ("cpu", F32, "cuda", BF16))
        self.assertEqual(cuda.directory(entry, self.folder), self.folder / "tiny_llama_here-bf16")
        self.assertEqual(cpu.directory(entry, self.folder), self.folder / "tiny_llama_here")
        described = pipeline.describe(entry, cuda)
        self.assertEqual((described["provider"], described["precision"]), ("cuda", "bf16"))
        self.assertEqual(pipeline.describe(entry, cpu).keys() & {"provider", "precision"}, set())

    def test_a_decoder_without_one_is_exported_as_for_the_cpu(self) -> None:
        entry, _ = self.entry()
        self.assertEqual(Target.of(entry, "cuda"), Target("cpu", F32))
        self.assertEqual(Target.of(entry, "openvino"), Target("cpu", F32))

    def test_a_recipe_that_has_no_half_precision_refuses_it(self) -> None:
        entry, _ = self.entry(cuda_precision="f16", recipe="gguf_decoder")
        with self.assertRaisesRegex(RegistryError, "`cuda_precision` is not for the recipe `gguf_decoder`"):
            pipeline.describe(entry, Target.of(entry, "cuda"))

    def test_a_provider_that_is_not_there_is_an_error(self) -> None:
        entry, _ = self.entry(cuda_precision="bf16")
        with self.assertRaisesRegex(ProviderError, "an environment of its own: .*requirements-cuda.txt"):
            pipeline.check_machine(entry, self.folder, "cuda")
        with self.assertRaisesRegex(ProviderError, "no CUDAExecutionProvider"):
            providers.session(self.folder / "any.onnx", "cuda")

    def test_a_provider_that_does_not_load_is_an_error_and_no_fallback(self) -> None:
        path = self.export(FAMILIES["llama"]) / "model.onnx"
        everywhere = {"cuda": "AzureExecutionProvider"}  # registered in this build, and unable to run anything
        with mock.patch.dict(providers.EXECUTION, everywhere), mock.patch.object(providers, "check"):
            with mock.patch("onnxruntime.InferenceSession.get_providers", return_value=["CPUExecutionProvider"]):
                with self.assertRaisesRegex(ProviderError, "opened model.onnx on CPUExecutionProvider, not on"):
                    with mock.patch.object(providers, "load_libraries"):
                        providers.session(path, "cuda")


def dying(_request: Any) -> None:
    """What the process sees as the kernel does when memory runs out: an end without a word."""
    os._exit(9)


def filling(_request: Any) -> None:
    """As torch ends where a card is too small."""
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 1 GiB")


def refusing(_request: Any) -> None:
    """As a script ends that cannot go on."""
    raise SystemExit("the published length is 3")


class Kept(RecordingCase):
    def recorded(self, entry: Model, files: dict[str, Path], target: Target = Target()) -> tuple[dict[str, Any], bool]:
        """The recording, and whether it was made for this."""
        with mock.patch.object(recording, "_recorded", return_value=ANSWER) as made:
            return recording.of(entry, files, self.out_dir, target, self.absent), made.called

    def test_it_is_made_once(self) -> None:
        entry, files = self.entry()
        first, made = self.recorded(entry, files)
        again, made_again = self.recorded(entry, files)
        self.assertEqual((made, made_again, again), (True, False, first))
        self.assertEqual(first["artifacts"], {artifact.name: artifact.sha256 for artifact in entry.artifact})
        self.assertEqual(json.loads((self.out_dir / recording.NAME).read_text()), first)

    def test_other_weights_inputs_or_precision_make_it_again(self) -> None:
        entry, files = self.entry()
        changed = dataclasses.replace(entry.artifact[0], sha256="0" * 64)
        for what, with_entry, target in (
            ("weights", dataclasses.replace(entry, artifact=[changed, *entry.artifact[1:]]), Target()),
            ("precision", entry, Target("cuda", BF16)),
        ):
            self.recorded(entry, files)
            with self.subTest(what):
                self.assertTrue(self.recorded(with_entry, files, target)[1])
        self.recorded(entry, files)
        with mock.patch.object(recording, "sha256", return_value="other texts"):
            self.assertTrue(self.recorded(entry, files)[1])
        (self.out_dir / recording.NAME).write_text("{ half a")
        self.assertTrue(self.recorded(entry, files)[1])

    def test_a_committed_one_comes_first(self) -> None:
        entry, files = self.entry()
        self.absent.write_text(json.dumps({"committed": True}))
        self.assertEqual(self.recorded(entry, files), ({"committed": True}, False))

    def test_what_is_missing_is_said_before_anything_is_fetched(self) -> None:
        entry, _ = self.entry()
        half = dataclasses.replace(entry.export, cuda_precision="bf16")
        with mock.patch.object(importlib.util, "find_spec", return_value=None):
            with self.assertRaisesRegex(RecordingError, "torch and transformers: python -m pip install -r .*reference.txt"):
                recording.check_installed(entry, self.folder, "cpu")
            bi_encoder = dataclasses.replace(entry, architecture="bi_encoder")
            with self.assertRaisesRegex(RecordingError, "torch and transformers and sentence_transformers: "):
                recording.check_installed(bi_encoder, self.folder, "cpu")
            with self.assertRaisesRegex(RecordingError, "requirements-cuda.txt"):
                recording.check_installed(dataclasses.replace(entry, export=half), self.folder, "cuda")
            with mock.patch.object(references, "COMMITTED", self.folder):
                references.committed(entry).write_text("{}")
                recording.check_installed(entry, self.folder, "cpu")

    def test_one_kept_from_the_last_time_needs_nothing_installed(self) -> None:
        entry, files = self.entry(cuda_precision="bf16")
        self.out_dir = Target.of(entry, "cpu").directory(entry, self.folder)
        self.out_dir.mkdir()
        self.recorded(entry, files)
        other = dataclasses.replace(entry, artifact=[dataclasses.replace(entry.artifact[0], sha256="0" * 64)])
        with mock.patch.object(importlib.util, "find_spec", return_value=None):
            recording.check_installed(entry, self.folder, "cpu")
            for changed, provider in ((entry, "cuda"), (other, "cpu")):  # another precision, other weights
                with self.assertRaisesRegex(RecordingError, "needs torch and transformers"):
                    recording.check_installed(changed, self.folder, provider)

    def test_a_process_that_is_killed_is_reported(self) -> None:
        entry, files = self.entry()
        with mock.patch("record_for_gate.record", dying), self.assertRaisesRegex(RecordingError, "was killed.* in f32"):
            recording.of(entry, files, self.out_dir, Target(), self.absent)

    def test_a_recording_that_is_refused_does_not_end_the_export_of_others(self) -> None:
        entry, files = self.entry()
        refused = mock.patch("record_for_gate.record", refusing)
        with refused, self.assertRaisesRegex(RecordingError, "model `tiny_llama_here`: the published length is 3"):
            recording.of(entry, files, self.out_dir, Target(), self.absent)


    def test_a_card_that_is_too_small_for_the_reference_is_told_in_one_line(self) -> None:
        entry, _ = self.entry(cuda_precision="bf16")
        with mock.patch("record_for_gate.decoder", filling), mock.patch.dict(os.environ):
            request = recording.Request(entry, {}, Target.of(entry, "cuda"))
            with self.assertRaisesRegex(SystemExit, "^the card's memory ran out: .*`nvidia-smi`.* allocate 2.00 GiB.\\)$"):
                record_for_gate.record(request)
            with self.assertRaisesRegex(RuntimeError, "^CUDA out of memory"):  # what it is on a CPU, it stays
                record_for_gate.record(dataclasses.replace(request, target=Target()))

    def test_a_card_that_is_too_small_for_the_gate_is_told(self) -> None:
        entry, files = self.entry(cuda_precision="bf16")
        full = RuntimeError("bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 130048")
        recipe = dataclasses.replace(RECIPES["checkpoint_decoder"], check=mock.Mock(side_effect=full))
        with (
            mock.patch.dict(RECIPES, checkpoint_decoder=recipe), mock.patch.object(pipeline, "fetch", return_value=files),
            mock.patch.object(pipeline, "check_machine"), mock.patch.object(recording, "of", return_value=ANSWER),
            self.assertRaisesRegex(ProviderError, "memory ran out in the gate of model `tiny_llama_here` on cuda: .*130048"),
        ):  # fmt: skip
            pipeline.export(entry, self.folder, self.folder / "cache", mock.Mock(), "cuda")


@unittest.skipUnless(HAS_TORCH, "torch and transformers are not installed")
class Recorded(RecordingCase):
    def test_a_model_without_a_committed_recording_is_recorded_and_passes(self) -> None:
        entry, _ = self.entry("gemma2")
        with mock.patch.object(references, "COMMITTED", self.folder), WheelStore(self.folder / "cache") as wheels:
            pipeline.export(entry, self.folder, self.folder / "cache", wheels)
            content = json.loads((self.folder / entry.key / manifest.NAME).read_text())
            self.assertRegex(content["gate"]["reference"], "transformers .*, float32")
            self.assertGreater(content["gate"]["inputs"], 5)
            self.assertEqual((content["provider"], content["precision"]), ("cpu", "f32"))
            self.assertEqual(content["recipe"]["reference"], pipeline.RECORDED_HERE)
            self.assertTrue(pipeline.is_current(entry, self.folder))

    def test_f16_passes_the_gate_of_half_precision_against_transformers_in_f16(self) -> None:
        for name in ("llama", "llama_tied", "qwen2", "phi3", "phi3_long", "gemma2"):
            with self.subTest(name):
                entry, files = self.entry(name)
                target, out_dir = Target("cpu", F16), self.folder / name
                out_dir.mkdir()
                checkpoint_decoder.export(entry, files, out_dir, F16)
                recorded = recording.of(entry, files, out_dir, target, self.absent)
                self.assertIn("float16", recorded["reference"])
                figures = decoder_gate.check(entry, out_dir, recorded, target)
                self.assertLess(figures["max_abs_difference"], 0.3)
                self.assertLess(figures["mean_abs_difference"], 0.03)
                spoil(out_dir / EXTERNAL_DATA)
                with self.assertRaisesRegex(GateFailure, f"model `{entry.key}`.*first to stray is "):
                    decoder_gate.check(entry, out_dir, recorded, target)


def spoil(path: Path) -> None:
    """Another content for the second half of the weights."""
    values = np.fromfile(path, np.float16)
    values[len(values) // 2 :] = values[len(values) // 2 :][::-1].copy()
    values.tofile(path)


if __name__ == "__main__":
    unittest.main()
