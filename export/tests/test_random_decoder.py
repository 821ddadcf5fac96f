"""Decoders with random weights: the recipe's own graphs, the same every time, finite, and from published configurations."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from poq_export import checkpoint_decoder, random_decoder
from poq_export.decoder_session import DecoderSession
from poq_export.graph import EXTERNAL_DATA
from poq_export.precision import BF16, F16, F32, PRECISIONS, Precision
from test_checkpoint_decoder import Case, model
from tiny_families import FAMILIES, Tiny
from tokenizers import Tokenizer

SIZE = {"vocab_size": 700}


class RandomDecoder(Case):
    def random(self, tiny: Tiny, precision: Precision, name: str = "random") -> Path:
        """Write one; returns its folder."""
        out_dir = self.folder / f"{name}-{tiny.name}-{precision.name}"
        random_decoder.write(tiny.config | SIZE, out_dir, precision)
        return out_dir

    def test_it_has_the_nodes_of_an_export(self) -> None:
        for tiny in FAMILIES.values():
            for precision in (F32, BF16):
                with self.subTest(tiny.name, precision=precision.name):
                    out_dir = self.folder / f"{tiny.name}-{precision.name}"
                    out_dir.mkdir()
                    checkpoint_decoder.export(model(tiny), self.checkpoint(tiny), out_dir, precision)
                    random_decoder.write(tiny.config, self.folder / "random", precision)
                    folders = (out_dir, self.folder / "random")
                    exported, drawn = (onnx.load(folder / "model.onnx").graph for folder in folders)
                    self.assertEqual(list(exported.node), list(drawn.node))
                    self.assertEqual([*exported.input, *exported.output], [*drawn.input, *drawn.output])
                    for left, right in zip(exported.initializer, drawn.initializer, strict=True):
                        self.assertEqual((left.name, left.dims, left.data_type), (right.name, right.dims, right.data_type))

    def test_the_same_configuration_gives_the_same_bytes(self) -> None:
        for precision in PRECISIONS.values():
            first, again = (self.random(FAMILIES["qwen2"], precision, name) for name in ("first", "again"))
            for name in ("model.onnx", EXTERNAL_DATA, "tokenizer.json", "chat_template.jinja"):
                self.assertEqual((first / name).read_bytes(), (again / name).read_bytes(), name)

    def test_matrices_keep_the_size_of_what_they_multiply(self) -> None:
        for precision in PRECISIONS.values():
            graph = onnx.load(self.random(FAMILIES["llama"], precision) / "model.onnx").graph
            matrices = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and "rotary" not in tensor.name]
            for tensor in matrices:
                values = numpy_helper.to_array(tensor).astype(np.float32)
                # in f32, a product's matrix lies the other way round, but for the table
                inputs = values.shape[0] if precision is F32 and tensor.name != "token_embd.weight" else values.shape[1]
                with self.subTest(tensor.name, precision=precision.name):
                    self.assertLess(abs(math.log2(inputs * values.var())), 1)
                    self.assertLess(abs(values.mean()), 0.05 * values.std())
                    self.assertGreater(len(np.unique(values)), 100)

    def test_it_answers_with_finite_logits_and_every_token_can_be_decoded(self) -> None:
        for tiny in FAMILIES.values():
            for precision in (F32, F16):
                with self.subTest(tiny.name, precision=precision.name):
                    folder = self.random(tiny, precision)
                    logits, tokens = DecoderSession(folder / "model.onnx").greedy([list(range(40, 70))], 8)
                    self.assertTrue(np.isfinite(logits).all())
                    self.assertGreater(logits.std(), 0.1)
                    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
                    self.assertEqual(tokenizer.get_vocab_size(), SIZE["vocab_size"])
                    self.assertEqual(tokenizer.decode(tokenizer.encode("Hé 42!\n").ids), "Hé 42!\n")
                    self.assertTrue(all(tokenizer.id_to_token(token) for token in tokens[0].tolist()))

    def test_rows_are_as_long_as_asked_for_and_as_the_trained_context(self) -> None:
        for tiny, asked, expected in (
            (FAMILIES["llama"], 8192, 256), (FAMILIES["llama"], 100, 100), (FAMILIES["phi3_long"], 8192, 128),
        ):  # fmt: skip
            self.assertEqual(random_decoder.longest(tiny.config, asked), expected)

    def test_the_command_writes_one_or_says_why_not(self) -> None:
        config = self.folder / "config.json"
        config.write_text(json.dumps(FAMILIES["gemma2"].config | SIZE))
        command = [sys.executable, "-m", "poq_export.random_decoder", str(config), str(self.folder / "out")]
        done = subprocess.run([*command, "--precision", "bf16"], capture_output=True, text=True, check=True)
        self.assertRegex(done.stderr, "drew a gemma2 in bf16, 0 M parameters")
        config.write_text(json.dumps({"model_type": "mamba"}))
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual((refused.returncode, refused.stderr.split(":")[0]), (1, "error"))
        self.assertIn("`mamba`", refused.stderr)


if __name__ == "__main__":
    unittest.main()
