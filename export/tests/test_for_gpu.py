"""The graph for GPUs beside its precision: attention that knows the lengths of rows, and pooling in the graph."""

from __future__ import annotations

import dataclasses
import json
import types
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from poq_export import encoder_gate, for_gpu, half, pooling
from poq_export.encoder_facts import POOLING_FLAGS
from poq_export.encoder_gate import Encoder
from poq_export.pooling import SENTENCES
from test_checkpoint_encoder import REFERENCES, Case
from tiny_encoders import ENCODERS, TinyEncoder

TEXTS = ["a", "the king of france was in paris", "no water", "who is the king", "yes " * 30, "the sun and the moon"]
NEAR = 0.004  # a component of a unit-length vector, in f16 against f32


def pooled_by(way: str) -> TinyEncoder:
    """The bi-encoder with another pooling."""
    tiny = ENCODERS["roberta"]
    return dataclasses.replace(tiny, scoring=dataclasses.replace(tiny.scoring, pooling=way))


class GpuCase(Case):
    def both(self, way: str) -> tuple[Encoder, Encoder]:
        """The f32 graph, which numpy pools, and the one for GPUs."""
        flags = {flag: way == meant for flag, meant in POOLING_FLAGS.items()}
        files = self.changed(pooled_by(way), "1_Pooling/config.json", flags)
        plain = self.export(pooled_by(way), files, [half.GRAPH])
        return plain, Encoder(plain.model, self.out, half.GRAPH)


class Pooled(GpuCase):
    def test_every_way_of_pooling_is_that_of_numpy_on_rows_of_any_length(self) -> None:
        found = {}
        for way in POOLING_FLAGS.values():
            with self.subTest(way):
                plain, pooled = self.both(way)
                self.assertEqual((plain.output, plain.pooling), ("last_hidden_state", way))
                self.assertEqual((pooled.output, pooled.pooling), (SENTENCES, "none"))
                rows = [plain.tokenize(text) for text in TEXTS]
                self.assertGreater(len({len(row.ids) for row in rows}), 4)
                exact, found[way] = plain.run(rows), pooled.run(rows)
                np.testing.assert_allclose(found[way], exact, atol=NEAR)
                alone = np.concatenate([pooled.run([row]) for row in rows])
                np.testing.assert_allclose(found[way], alone, atol=NEAR)
        for one, other in (("mean", "cls"), ("mean", "max"), ("cls", "max")):
            self.assertGreater(np.abs(found[one] - found[other]).max(), 10 * NEAR)

    def test_sentence_vectors_in_f32_are_all_that_comes_back(self) -> None:
        for way in POOLING_FLAGS.values():
            _, pooled = self.both(way)
            (output,) = pooled.session.get_outputs()
            self.assertEqual((output.name, output.type), (SENTENCES, "tensor(float)"))
            self.assertEqual(output.shape, ["batch", ENCODERS["roberta"].config["hidden_size"]])

    def test_a_mean_is_taken_in_f32(self) -> None:
        """Of the graph's own token vectors, which have digits of f16 alone."""
        _, pooled = self.both("mean")
        content = onnx.load(self.out / half.GRAPH)
        content.graph.output.append(helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, None))
        session = InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])
        mask = np.array([[1] * 60, [1] * 7 + [0] * 53])
        found, tokens = session.run([SENTENCES, "last_hidden_state"], {"input_ids": mask * 9, "attention_mask": mask})
        np.testing.assert_array_equal(tokens, tokens.astype(np.float16))
        np.testing.assert_allclose(found, pooling.pool(tokens, mask, "mean"), atol=1e-6)
        self.assertGreater(np.abs(found - found.astype(np.float16)).max(), 1e-5)

    def test_padding_is_left_out_of_the_largest_value(self) -> None:
        vectors = np.array([[[-3.0, -1.0], [-2.0, -5.0], [9.0, 9.0]]], np.float32)
        feeds = {"vectors": vectors, "attention_mask": np.array([[1, 1, 0]])}
        np.testing.assert_array_equal(self.of_tokens("max").run(None, feeds)[0], [[-2.0, -1.0]])

    def test_a_graph_with_sentence_vectors_of_its_own_is_refused(self) -> None:
        self.export(ENCODERS["roberta"], variants=[half.GRAPH])
        graph = onnx.load(self.out / half.GRAPH).graph
        with self.assertRaisesRegex(pooling.PoolingError, "name that as its `output`"):
            pooling.into_graph(graph, SENTENCES, "mean")

    def of_tokens(self, way: str) -> InferenceSession:
        """A graph that pools what it is given."""
        inputs = [
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "sequence"]),
            helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", "sequence", 2]),
        ]
        output = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["batch", "sequence", 2])
        graph = helper.make_graph([helper.make_node("Identity", ["vectors"], ["tokens"])], "pooling", inputs, [output])
        pooling.into_graph(graph, "tokens", way)
        content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        return InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])

    def test_the_gate_for_cuda_holds_it_to_the_recording_of_the_f32_vectors(self) -> None:
        tiny = ENCODERS["roberta"]
        files = self.checkpoint(tiny)
        plain = self.export(tiny, files, [half.GRAPH])
        recorded = json.loads((REFERENCES / f"{tiny.key}.json").read_text(encoding="utf-8"))
        pooled = Encoder(plain.model, self.out, half.GRAPH)
        rows = [pooled.tokenize(entry["text"]) for entry in recorded["inputs"]]
        expected = np.array([entry["output"] for entry in recorded["inputs"]])
        self.assertLess(np.abs(pooled.run(rows) - expected).max(), encoder_gate.CUDA_TOLERANCES[encoder_gate.F16] / 10)


class Lengths(GpuCase):
    def test_every_fused_attention_gets_the_lengths_of_its_rows(self) -> None:
        mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
        for name in ("bert", "roberta"):
            self.export(ENCODERS[name], variants=[half.GRAPH])
            plain, changed = (onnx.load(self.out / graph) for graph in ("model.onnx", half.GRAPH))
            masks = [node.input[3] for node in changed.graph.node if node.op_type == "Attention"]
            self.assertEqual(masks, [for_gpu.LENGTHS] * 3)
            self.assertFalse({node.name for node in plain.graph.node} & {for_gpu.LENGTHS})
            changed.graph.output.append(helper.make_tensor_value_info(for_gpu.LENGTHS, TensorProto.INT32, None))
            content = changed.SerializeToString()
            session = InferenceSession(content, providers=["CPUExecutionProvider"])
            feeds = {value.name: mask for value in session.get_inputs()}
            (lengths,) = session.run([for_gpu.LENGTHS], feeds)
            np.testing.assert_array_equal(lengths, [3, 1, 4, 0, 4, 8, 12, 0, 4, 8, 12])

    def test_attention_that_is_not_fused_keeps_its_mask(self) -> None:
        self.export(ENCODERS["deberta"], variants=[half.GRAPH])
        half.write(self.out / "model.onnx", self.out / "rounded.onnx")
        self.assertEqual((self.out / half.GRAPH).read_bytes(), (self.out / "rounded.onnx").read_bytes())


class Choice(unittest.TestCase):
    def test_sentence_vectors_are_read_only_in_the_place_of_what_the_registry_names(self) -> None:
        tokens = "last_hidden_state"
        for architecture, named, way, there, expected in (
            ("bi_encoder", tokens, "mean", [tokens], (tokens, "mean")),
            ("bi_encoder", tokens, "mean", [SENTENCES], (SENTENCES, "none")),
            ("bi_encoder", tokens, "mean", [tokens, SENTENCES], (tokens, "mean")),
            ("bi_encoder", tokens, "cls", ["other"], (tokens, "cls")),
            ("bi_encoder", "pooled", "none", ["pooled"], ("pooled", "none")),
            ("cross_encoder", "logits", None, [SENTENCES], ("logits", "none")),
        ):
            scoring = types.SimpleNamespace(output=named, pooling=way)
            model = types.SimpleNamespace(key="toy", architecture=architecture, scoring=scoring)
            with self.subTest(architecture, there=there):
                self.assertEqual(pooling.output_to_read(model, there), expected)

    def test_an_unknown_pooling_is_refused(self) -> None:
        with self.assertRaisesRegex(pooling.PoolingError, "`weighted`"):
            pooling.pool(np.zeros((1, 2, 3)), np.ones((1, 2)), "weighted")


if __name__ == "__main__":
    unittest.main()
