"""The engine's tiny Gemmas: what is committed is what the recipe makes, and answers as the reference did."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from poq_export.decoder_session import DecoderSession
from tiny_fixtures import checks, families

COMMITTED = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "tiny"


class Fixtures(unittest.TestCase):
    def test_the_committed_graphs_are_those_of_the_recipe_and_the_reference(self) -> None:
        for key, tiny in families.FIXTURES.items():
            with self.subTest(key), tempfile.TemporaryDirectory() as scratch:
                checks.check_recorded_decoder(COMMITTED / key)
                families.export(tiny, Path(scratch))
                made, committed = (onnx.load(folder / "model.onnx").graph for folder in (Path(scratch), COMMITTED / key))
                self.assertEqual(list(made.node), list(committed.node))
                for left, right in zip(made.initializer, committed.initializer, strict=True):
                    # processors may differ in the last bit of a cosine
                    np.testing.assert_allclose(numpy_helper.to_array(left), numpy_helper.to_array(right), atol=1e-6)
                self.assertLess((COMMITTED / key / "model.onnx").stat().st_size, 300_000)

    def test_windows_and_caps_change_answers(self) -> None:
        both = ("tiny_gemma2", "tiny_gemma3")
        for key, attribute in [(key, "local_window_size") for key in both] + [("tiny_gemma2", "softcap")]:
            with self.subTest(key, attribute=attribute), tempfile.TemporaryDirectory() as scratch:
                without = Path(scratch) / "model.onnx"
                content = onnx.load(COMMITTED / key / "model.onnx")
                for node in content.graph.node:
                    for field in [field for field in node.attribute if field.name == attribute]:
                        node.attribute.remove(field)
                onnx.save_model(content, without)
                self.assertNotEqual(self.answers(without), self.answers(COMMITTED / key / "model.onnx"))

    def answers(self, path: Path) -> list[list[int]]:
        """Greedy tokens of a graph for a few prompts of the tokenizer's bytes."""
        session = DecoderSession(path)
        return session.greedy([list(range(20, 50)), list(range(60, 100)), list(range(5, 30))], 16)[1].tolist()


if __name__ == "__main__":
    unittest.main()
