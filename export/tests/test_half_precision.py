"""Decoders in half precision: f16 against the recordings on the CPU, bf16 by its structure, its bits and its kernels."""

from __future__ import annotations

import dataclasses
import tracemalloc
import unittest
from pathlib import Path
from unittest import mock

import cuda_kernels
import numpy as np
import onnx
import onnxruntime
import tiny_families
from ml_dtypes import bfloat16
from onnx import TensorProto, helper, numpy_helper
from poq_export import checkpoint, checkpoint_decoder
from poq_export.checkpoint import Checkpoint, CheckpointError
from poq_export.decoder_session import DecoderSession
from poq_export.families import describe
from poq_export.graph import EXTERNAL_DATA
from poq_export.precision import BF16, F16, PRECISIONS, Precision, PrecisionError, converted
from safetensors.numpy import save_file
from test_checkpoint_decoder import FILES, Case, model, reference
from tiny_families import FAMILIES, Tiny

# Logits of the tiny checkpoints reach 13; random weights magnify rounding more than trained ones do.
F16_LARGEST, F16_MEAN = 0.2, 0.025


class HalfCase(Case):
    def half(self, tiny: Tiny, precision: Precision, files: dict[str, Path] | None = None) -> Path:
        """Export in half precision, weights in a file of their own; returns the graph."""
        out_dir = self.folder / f"{tiny.name}-{precision.name}-{len(list(self.folder.iterdir()))}"
        out_dir.mkdir()
        entry = dataclasses.replace(model(tiny), files=[*FILES, EXTERNAL_DATA])
        checkpoint_decoder.export(entry, files or self.checkpoint(tiny), out_dir, precision)
        return out_dir / "model.onnx"

    def stored_as(self, tiny: Tiny, kind: np.dtype) -> dict[str, Path]:
        """The checkpoint with its weights in another format."""
        files = self.checkpoint(tiny)
        tensors = {name: array.astype(kind) for name, array in tiny_families.weights(tiny).items()}
        save_file(tensors, files["model.safetensors"])
        return files


class F16OnTheCpu(HalfCase):
    def test_it_says_what_the_reference_says_but_for_rounding(self) -> None:
        for tiny in FAMILIES.values():
            session = DecoderSession(self.half(tiny, F16))
            for cache_length in (None, tiny.positions):
                with self.subTest(tiny.name, cache_length=cache_length):
                    differences = []
                    for entry in reference(tiny.key)["inputs"]:
                        logits, tokens = session.greedy([entry["ids"]], 24, cache_length)
                        where = [int(token) for token in entry["logits"]]
                        differences.append(np.abs(logits[0, 0, where] - list(entry["logits"].values())))
                        if min(entry["margins"]) > 2 * F16_LARGEST:
                            self.assertEqual(tokens[0].tolist(), entry["greedy"])
                    self.assertEqual(logits.dtype, np.float32)
                    self.assertLess(np.concatenate(differences).max(), F16_LARGEST)
                    self.assertLess(np.concatenate(differences).mean(), F16_MEAN)

    def test_rows_of_a_batch_are_the_rows_alone(self) -> None:
        for tiny in FAMILIES.values():
            with self.subTest(tiny.name):
                session = DecoderSession(self.half(tiny, F16))
                prompts = [entry["ids"] for entry in reference(tiny.key)["inputs"]]
                together, _ = session.greedy(prompts, 1, tiny.positions)
                alone = np.concatenate([session.greedy([prompt], 1)[0] for prompt in prompts])
                np.testing.assert_allclose(together, alone, atol=0.05)

    def test_logits_beyond_a_softcap_are_bent_in_f32(self) -> None:
        """The cap comes after the cast, so that two logits near it differ by less than f16 could say."""
        graph = onnx.load(self.half(FAMILIES["gemma2"], F16), load_external_data=False).graph
        kinds = [node.op_type for node in graph.node]
        last = [node for node in graph.node if node.op_type == "Cast"][-1]
        self.assertEqual((last.attribute[0].i, kinds[kinds.index("Tanh") - 1]), (TensorProto.FLOAT, "Div"))
        self.assertLess(list(graph.node).index(last), kinds.index("Tanh"))


class Bf16(HalfCase):
    def test_it_is_the_f16_graph_with_another_type(self) -> None:
        for tiny in FAMILIES.values():
            with self.subTest(tiny.name):
                f16, bf16 = (onnx.load(self.half(tiny, precision)).graph for precision in (F16, BF16))
                renamed = [nameless(node, "bfloat16_", "float16_") for node in bf16.node]
                self.assertEqual(renamed, [nameless(node, "", "") for node in f16.node])
                for left, right in zip([*f16.input, *f16.output], [*bf16.input, *bf16.output], strict=True):
                    kinds = [value.type.tensor_type.elem_type for value in (left, right)]
                    cache = left.name.startswith(("past_key_values.", "present."))
                    self.assertEqual(kinds[1], TensorProto.BFLOAT16 if cache else kinds[0], left.name)
                for left, right in zip(f16.initializer, bf16.initializer, strict=True):
                    self.assertEqual((left.dims, right.data_type == TensorProto.BFLOAT16),
                                     (right.dims, left.data_type == TensorProto.FLOAT16))

    def test_every_tensor_has_the_bits_of_the_checkpoint(self) -> None:
        for tiny in FAMILIES.values():
            with self.subTest(tiny.name):
                files = self.stored_as(tiny, bfloat16)
                graph = onnx.load(self.half(tiny, BF16, files)).graph
                held = {tensor.name: tensor for tensor in graph.initializer}
                source, places = Checkpoint(files), describe(tiny.config, tiny.positions).places
                seen = 0
                for name, found in held.items():
                    parts = [part for part in split_name(name) if part in places]
                    seen += len(parts)
                    expected = [source.stored(places[part].name, places[part].rows) for part in parts]
                    expected = [
                        (rows.astype(np.float32) + 1).astype(bfloat16) if places[part].added else rows
                        for part, rows in zip(parts, expected)
                    ]
                    if parts:
                        self.assertEqual(found.raw_data, np.concatenate(expected).tobytes(), name)
                self.assertEqual(seen, len(places))

    def test_it_passes_the_checker_and_onnx_runtime_finds_its_types_right(self) -> None:
        """What is left to say against it on the CPU is that no kernel is there."""
        for tiny in FAMILIES.values():
            with self.subTest(tiny.name):
                path = self.half(tiny, BF16)
                content = onnx.load(path)
                for node in content.graph.node:  # an operator of ONNX Runtime that it keeps in ONNX's own domain
                    node.domain = "com.microsoft" if node.op_type == "SimplifiedLayerNormalization" else node.domain
                onnx.checker.check_model(content, full_check=True)
                onnx.shape_inference.infer_shapes(content, check_type=True, strict_mode=True)
                with self.assertRaisesRegex(Exception, "NOT_IMPLEMENTED : Could not find an implementation for "):
                    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def test_onnx_runtime_would_notice_a_wrong_type(self) -> None:
        path = self.half(FAMILIES["llama"], BF16)
        content = onnx.load(path)
        norm = next(tensor for tensor in content.graph.initializer if tensor.name == "output_norm.weight")
        norm.CopyFrom(numpy_helper.from_array(np.ones(64, np.float32), norm.name))
        onnx.save_model(content, path)
        with self.assertRaisesRegex(Exception, "bound to different types"):
            onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def test_cuda_has_a_kernel_for_every_node(self) -> None:
        for tiny in FAMILIES.values():
            for precision in (BF16, F16):
                with self.subTest(tiny.name, precision=precision.name):
                    graph = onnx.load(self.half(tiny, precision), load_external_data=False).graph
                    self.assertEqual(cuda_kernels.problems(graph), [])

    def test_the_table_refuses_f32_attention_and_mixed_types(self) -> None:
        path = self.half(FAMILIES["gemma2"], BF16)
        graph = onnx.load(path, load_external_data=False).graph
        for value in graph.input:
            kind = value.type.tensor_type
            kind.elem_type = TensorProto.FLOAT if kind.elem_type == TensorProto.BFLOAT16 else kind.elem_type
        for tensor in graph.initializer:
            tensor.data_type = TensorProto.FLOAT if tensor.data_type == TensorProto.BFLOAT16 else tensor.data_type
        self.assertIn("GroupQueryAttention has no kernel for FLOAT", cuda_kernels.problems(graph))
        graph = onnx.load(path, load_external_data=False).graph
        graph.node.insert(0, helper.make_node("Add", ["token_embd.weight", "int64_2"], ["mixed"]))
        self.assertEqual(len(cuda_kernels.problems(graph)), 1)
        graph = onnx.load(self.export(FAMILIES["gemma2"]) / "model.onnx").graph
        self.assertEqual(cuda_kernels.problems(graph), ["MatMul with 2 inputs is not in the table"])


class Conversions(HalfCase):
    def test_a_weight_that_f16_cannot_hold_is_named(self) -> None:
        tiny, tensors = FAMILIES["llama"], tiny_families.weights(FAMILIES["llama"])
        tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = 70000.0
        files = self.checkpoint(tiny)
        save_file(tensors, files["model.safetensors"])
        with self.assertRaisesRegex(PrecisionError, "`model.layers.1.mlp.up_proj.weight` holds 70000"):
            self.half(tiny, F16, files)
        self.half(tiny, BF16, files)

    def test_rounding_is_to_the_nearest_and_from_f16_goes_through_f32(self) -> None:
        values = np.random.default_rng(3).normal(0, 1, 1000).astype(np.float32)
        for precision in (F16, BF16):
            found = converted(values, precision.dtype, "x").astype(np.float32)
            step = 2.0 ** (np.floor(np.log2(np.abs(values))) - (10 if precision is F16 else 7))
            self.assertTrue((np.abs(found - values) <= step / 2).all())
        small = np.array([2.0**-24, 65504.0], np.float16)
        np.testing.assert_array_equal(converted(small, BF16.dtype, "x").astype(np.float32), [2.0**-24, 65536.0])

    def test_not_a_number_keeps_its_bits(self) -> None:
        bits = np.array([0x7FC1, 0xFF81, 0x8000, 0x0001], np.uint16).view(bfloat16)
        self.assertEqual(converted(bits, BF16.dtype, "x").view(np.uint16).tolist(), bits.view(np.uint16).tolist())

    def test_rounded_weights_are_for_f32_alone(self) -> None:
        tiny = FAMILIES["llama"]
        with self.assertRaisesRegex(CheckpointError, "`int4` is exported in f32 only, not in bf16"):
            checkpoint_decoder.export(model(tiny, "int4"), self.checkpoint(tiny), self.folder, BF16)


class Memory(HalfCase):
    def test_an_export_holds_a_few_rows_at_a_time(self) -> None:
        """With pieces of 16384 elements the most that lies in numpy's memory has nothing to do with the model's size."""
        large = {"vocab_size": 30000, "hidden_size": 256, "intermediate_size": 1024, "head_dim": 64}
        tiny = dataclasses.replace(FAMILIES["llama"], config=FAMILIES["llama"].config | large)
        files = self.stored_as(tiny, bfloat16)
        for precision in PRECISIONS.values():
            with self.subTest(precision.name), mock.patch.object(checkpoint, "PIECE", 1 << 14):
                tracemalloc.start()
                path = self.half(tiny, precision, files)
                _, most = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                size = path.with_name(EXTERNAL_DATA).stat().st_size
                self.assertGreater(size, 35e6)
                # f32 matrices are turned around whole; the largest is the head's
                self.assertLess(most, 4e6 if precision.is_half else 4e6 + 30000 * 256 * 4)


def nameless(node: onnx.NodeProto, old: str, new: str) -> onnx.NodeProto:
    """A node with its constants' type no longer in their names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for number, name in enumerate(copy.input):
        copy.input[number] = name.replace(old, new, 1) if old and name.startswith(old) else name
    return copy


def split_name(name: str) -> list[str]:
    """`blk.0.attn_q+attn_k.weight` → `blk.0.attn_q.weight`, `blk.0.attn_k.weight`."""
    head, _, tail = name.rpartition(".")
    scope, _, joined = head.rpartition(".")
    return [f"{scope}.{part}.{tail}".lstrip(".") for part in joined.split("+")]


if __name__ == "__main__":
    unittest.main()
