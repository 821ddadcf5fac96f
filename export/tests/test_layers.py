"""A gate that fails names the layer: one tensor is spoiled on its way to the graph, and the right place has to be found."""

from __future__ import annotations

import dataclasses
import unittest
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from poq_export import checkpoint_decoder, decoder_gate, layers
from poq_export.checkpoint import CheckpointTensors
from poq_export.decoder_gate import GateFailure
from poq_export.graph import EXTERNAL_DATA
from poq_export.precision import F16, F32, Precision
from poq_export.target import Target
from test_checkpoint_decoder import FILES, Case, model, reference
from tiny_families import FAMILIES, Tiny

SPOILED = [
    ("token_embd.weight", "the embedding"),
    ("blk.0.attn_q.weight", "layer 0"),
    ("blk.0.attn_norm.weight", "layer 0"),
    ("blk.1.attn_output.weight", "layer 1"),
    ("blk.1.ffn_down.weight", "layer 1"),
    ("blk.2.ffn_norm.weight", "layer 2"),
    ("blk.2.attn_v.weight", "layer 2"),
    ("output_norm.weight", "the final norm"),
    ("output.weight", "the head"),
]


class Layers(Case):
    def graph(self, tiny: Tiny, precision: Precision, external: bool = True) -> Path:
        """Export; returns the folder."""
        out_dir = self.folder / f"out-{len(list(self.folder.iterdir()))}"
        out_dir.mkdir()
        entry = dataclasses.replace(model(tiny), files=[*FILES, EXTERNAL_DATA] if external else FILES)
        checkpoint_decoder.export(entry, self.checkpoint(tiny), out_dir, precision)
        return out_dir

    def test_without_a_fault_every_state_is_the_references(self) -> None:
        for tiny in FAMILIES.values():
            for precision, tolerance in ((F32, 1e-5), (F16, 0.02)):
                with self.subTest(tiny.name, precision=precision.name):
                    path = self.graph(tiny, precision) / "model.onnx"
                    errors = layers.errors_by_stage(path, reference(tiny.key), Target("cpu", precision))
                    expected = ["the embedding", "layer 0", "layer 1", "layer 2", "the final norm", "the head"]
                    self.assertEqual(list(errors), expected)
                    self.assertLess(max(errors.values()), tolerance)
                    self.assertEqual(list(path.parent.glob("*.tmp")), [])

    def test_the_layer_of_a_spoiled_tensor_is_named(self) -> None:
        for family in ("llama", "qwen2_window", "phi3", "gemma2"):
            tiny = FAMILIES[family]
            for precision in (F32, F16) if family == "llama" else (F32,):
                for tensor, expected in SPOILED:
                    if family == "gemma2" and tensor == "output.weight":
                        continue  # its head is the embedding
                    with self.subTest(family, precision=precision.name, tensor=tensor), spoiling(tensor):
                        path = self.graph(tiny, precision, external=precision is F16) / "model.onnx"
                        found = layers.straying(path, reference(tiny.key), Target("cpu", precision))
                        self.assertTrue(found.startswith(f"the first to stray is {expected} ("), found)

    def test_the_failure_of_a_gate_says_it(self) -> None:
        tiny = FAMILIES["qwen2"]
        recorded = reference(tiny.key)
        for fields in ({}, {"hidden_states": None}):
            with spoiling("blk.1.ffn_up.weight"):
                out_dir = self.graph(tiny, F32)
            content = {name: value for name, value in (recorded | fields).items() if value is not None}
            where = "the first to stray is layer 1 " if "hidden_states" in content else "its recording has no hidden states"
            entry = model(tiny)
            with self.subTest(where), mock.patch.object(decoder_gate, "held", lambda _: recorded["artifacts"]):
                with self.assertRaisesRegex(GateFailure, f"model `tiny_qwen2`, input 0 .*; {where}"):
                    decoder_gate.check(entry, out_dir, content)

    def test_the_session_of_the_gate_is_gone_before_that_of_the_layers_opens(self) -> None:
        with spoiling("blk.1.ffn_up.weight"):
            out_dir = self.graph(FAMILIES["llama"], F32)
        recorded, opened, alive = reference("tiny_llama"), [], []

        class Session(decoder_gate.DecoderSession):
            def __init__(self, *arguments: Any) -> None:
                alive.append([session() is not None for session in opened])
                super().__init__(*arguments)
                opened.append(weakref.ref(self))

        held = mock.patch.object(decoder_gate, "held", lambda _: recorded["artifacts"])
        in_gate, in_layers = (mock.patch.object(module, "DecoderSession", Session) for module in (decoder_gate, layers))
        with held, in_gate, in_layers:
            with self.assertRaisesRegex(GateFailure, "the first to stray is layer 1 "):
                decoder_gate.check(model(FAMILIES["llama"]), out_dir, recorded)
        self.assertEqual(alive, [[], [False]])

    def test_what_goes_wrong_in_looking_does_not_hide_the_failure(self) -> None:
        found = layers.straying(self.folder / "absent.onnx", reference("tiny_llama"), Target())
        self.assertRegex(found, "could not be told: FileNotFoundError")


def spoiling(tensor: str) -> Any:
    """Let a checkpoint's reader give another content for one tensor of the graph."""
    pieces = CheckpointTensors.pieces

    def spoiled(self: CheckpointTensors, name: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        random = np.random.default_rng(1)
        for piece in pieces(self, name, dtype):
            noise = random.normal(0, 0.5 * np.abs(piece.astype(np.float32)).mean(), piece.shape)
            yield (piece.astype(np.float32) + noise).astype(dtype) if name == tensor else piece

    return mock.patch.object(CheckpointTensors, "pieces", spoiled)


if __name__ == "__main__":
    unittest.main()
