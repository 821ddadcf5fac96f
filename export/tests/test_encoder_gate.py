"""The gate of encoders for the provider cuda: both graphs are held to the same recording, on that provider.

There is no GPU here; what stands for the provider is the CPU's, so that everything but the device is the real thing.
"""

from __future__ import annotations

import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import cuda_on_cpu
import numpy as np
import onnx
from onnx import numpy_helper
from poq_export import encoder_gate, half, manifest, pipeline, providers
from poq_export.encoder_gate import Encoder, EncoderGateError
from poq_export.registry import Artifact, Export, Model, PathSource, Scoring
from poq_export.target import CPU, Target

FIXTURE = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "tiny" / "tiny_cross"
WORDS = "a an the of in to and or is was are not no yes it this that with for on at by from as be has have who what".split()
CUDA = Target("cuda")


def entry(*more: str) -> Model:
    """A registry entry of the fixture, with further files."""
    return Model(
        key="tiny_cross", pool="none", role="evaluator", architecture="cross_encoder", precision="f32", name="tiny",
        upstream="none", licence="MIT", max_length=128, files=["model.onnx", *more, "tokenizer.json"],
        export=Export("copy_onnx", 1e-4), artifact=[Artifact("model.onnx", "0" * 64, [PathSource("none")])],
        scoring=Scoring("logits", 8, head="probability", labels=["no", "yes"], target="yes"),
    )  # fmt: skip


class Half(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        for name in ("model.onnx", "tokenizer.json"):
            shutil.copy(FIXTURE / name, self.folder / name)
        cuda_on_cpu.stand_in(self)

    def reference(self) -> dict[str, Any]:
        """What the f32 graph itself answers."""
        encoder, inputs = Encoder(entry(), self.folder), []
        for number in range(encoder_gate.MINIMUM_INPUTS):
            pair = (" ".join(WORDS[: number + 1]), " ".join(WORDS[number:]))
            tokens = encoder.tokenize(pair)
            output = encoder.run([tokens])[0].tolist()
            texts = {"first": pair[0], "second": pair[1]}
            inputs.append(texts | {"ids": tokens.ids, "type_ids": tokens.type_ids, "output": output})
        return {"reference": "itself", "artifacts": {"model.onnx": "0" * 64}, "inputs": inputs}

    def write_half(self, spread: float) -> None:
        """The f32 graph with weights changed by about `spread` of themselves, in the place of one in half precision."""
        content, random = onnx.load(self.folder / "model.onnx"), np.random.default_rng(1)
        for tensor in content.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype in (np.float16, np.float32) and values.ndim == 2:
                changed = (values * (1 + spread * random.normal(size=values.shape))).astype(values.dtype)
                tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
        onnx.save_model(content, self.folder / half.GRAPH)

    def test_it_is_held_to_the_recording_on_that_provider_alone(self) -> None:
        recorded, model = self.reference(), entry(half.GRAPH)
        self.write_half(2**-10)
        figures = encoder_gate.check(model, self.folder, recorded, CUDA)
        self.assertLess(0, figures["max_abs_difference_f16_cuda"])
        self.assertLess(figures["max_abs_difference_f16_cuda"], figures["tolerance_f16_cuda"])
        self.assertLess(figures["max_abs_difference"], 1e-4)
        self.write_half(0.5)
        self.assertNotIn("tolerance_f16_cuda", encoder_gate.check(model, self.folder, recorded, CPU))
        with self.assertRaisesRegex(EncoderGateError, "model `tiny_cross`, input .*, run in f16 on cuda, alone: differs"):
            encoder_gate.check(model, self.folder, recorded, CUDA)

    def test_a_model_without_one_is_checked_as_for_the_cpu(self) -> None:
        figures = encoder_gate.check(entry(), self.folder, self.reference(), CUDA)
        self.assertNotIn("tolerance_f16_cuda", figures)

    def test_the_f32_graph_is_held_to_it_on_that_provider_as_well(self) -> None:
        recorded, model = self.reference(), entry(half.GRAPH)
        self.write_half(0.5)
        shutil.move(self.folder / half.GRAPH, self.folder / "as_cuda_computes_it.onnx")
        self.write_half(2**-10)
        real = providers.session

        def session(path: Path, provider: str = "cpu") -> Any:
            wrong = provider == "cuda" and path.name == "model.onnx"
            return real(path.with_name("as_cuda_computes_it.onnx") if wrong else path, provider)

        with mock.patch.object(providers, "session", session):
            with self.assertRaisesRegex(EncoderGateError, "model `tiny_cross`, input .*, run in f32 on cuda, alone: differs"):
                encoder_gate.check(model, self.folder, recorded, CUDA)

    def test_a_gate_that_ran_on_cuda_counts_for_the_cpu_and_not_the_other_way_round(self) -> None:
        model, out_dir = entry(half.GRAPH), self.folder / "tiny_cross"
        out_dir.mkdir()
        for name in model.files:
            (out_dir / name).write_text(name)
        for target, expected in ((CUDA, [True, True]), (CPU, [True, False])):
            manifest.write(model, out_dir, {}, pipeline.describe(model, target))
            self.assertEqual([pipeline.is_current(model, self.folder, name) for name in ("cpu", "cuda")], expected)
        (out_dir / half.GRAPH).write_text("other")
        self.assertFalse(pipeline.is_current(model, self.folder, "cpu"))

    def test_only_a_gate_that_ran_it_counts_for_cuda(self) -> None:
        with_half, without = entry(half.GRAPH), entry()
        self.assertNotEqual(pipeline.describe(with_half, CUDA), pipeline.describe(with_half, CPU))
        self.assertEqual(pipeline.describe(without, CUDA), pipeline.describe(without, CPU))
        self.assertEqual(CUDA, Target.of(with_half, "cuda"))
        self.assertEqual(CUDA.directory(with_half, self.folder).name, "tiny_cross")


if __name__ == "__main__":
    unittest.main()
