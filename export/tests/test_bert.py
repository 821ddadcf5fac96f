"""The BERT recipe as a sequence classifier, and the 8-bit variant made of it."""

from __future__ import annotations

import collections
import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from poq_export import encoders, quantize
from poq_export.registry import Artifact, Export, Model, PathSource, Scoring
from poq_export.untrained import untrained_head
from safetensors.numpy import save_file

HIDDEN, INNER, LAYERS, LABELS = 16, 32, 2, 3
CONFIG = {
    "model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN, "num_attention_heads": 2, "type_vocab_size": 2,
    "num_hidden_layers": LAYERS, "layer_norm_eps": 1e-12,
}  # fmt: skip
TOKENIZER = {"truncation": None, "padding": None}
FEEDS = {
    "input_ids": np.array([[1, 5, 9, 2], [1, 7, 2, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.array([[0, 0, 1, 1], [0, 0, 0, 0]]),
}


def weights(classifier: bool) -> dict[str, np.ndarray]:
    """Random weights under the names of a published sequence classifier."""
    random = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (20, HIDDEN),
        "embeddings.position_embeddings.weight": (8, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    linears = {"pooler.dense": (HIDDEN, HIDDEN)}
    for layer in (f"encoder.layer.{index}" for index in range(LAYERS)):
        linears |= {f"{layer}.attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        linears |= {f"{layer}.attention.output.dense": (HIDDEN, HIDDEN)}
        linears |= {f"{layer}.intermediate.dense": (INNER, HIDDEN), f"{layer}.output.dense": (HIDDEN, INNER)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    found = {f"bert.{name}": random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    for name in norms:
        found |= {f"bert.{name}.weight": np.ones(HIDDEN, np.float32), f"bert.{name}.bias": np.zeros(HIDDEN, np.float32)}
    if classifier:
        found["classifier.weight"] = random.normal(0, 1, (LABELS, HIDDEN)).astype(np.float32)
        found["classifier.bias"] = np.arange(LABELS, dtype=np.float32)
    return found


def model(architecture: str = "cross_encoder", head: str | None = None, files: tuple[str, ...] = ()) -> Model:
    """A registry entry for the random weights."""
    cross = architecture == "cross_encoder"
    return Model(
        key="toy", pool="none", role="evaluator", architecture=architecture, precision="f32", name="toy", upstream="none",
        licence="MIT", max_length=8, files=["model.onnx", "tokenizer.json", *files],
        export=Export("bert_encoder", 1e-4, head=head), artifact=[Artifact("none", "none", [PathSource("none")])],
        scoring=Scoring("logits" if cross else "last_hidden_state", 8, None if cross else "mean"),
    )  # fmt: skip


class Bert(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def export(self, entry: Model, tensors: dict[str, np.ndarray]) -> None:
        """Write the artifacts and export them."""
        paths = {name: self.folder / f"source-{name}" for name in ("model.safetensors", "config.json", "tokenizer.json")}
        save_file(tensors, paths["model.safetensors"])
        paths["config.json"].write_text(json.dumps(CONFIG))
        paths["tokenizer.json"].write_text(json.dumps(TOKENIZER))
        encoders.export(entry, paths, self.folder)

    def run_graph(self, graph: str = "model.onnx") -> np.ndarray:
        """The graph's one output."""
        session = onnxruntime.InferenceSession(self.folder / graph, providers=["CPUExecutionProvider"])
        return session.run(None, FEEDS)[0]

    def expected(self, classifier: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Pooler and classifier in numpy, on the token vectors of the graph without them."""
        tensors = weights(classifier=False)
        self.export(model("bi_encoder"), tensors)
        first = self.run_graph()[:, 0]
        pooled = np.tanh(first @ tensors["bert.pooler.dense.weight"].T + tensors["bert.pooler.dense.bias"])
        return pooled @ classifier[0].T + classifier[1]

    def test_a_published_classifier_is_used(self) -> None:
        tensors = weights(classifier=True)
        expected = self.expected((tensors["classifier.weight"], tensors["classifier.bias"]))
        self.export(model(), tensors)
        np.testing.assert_allclose(self.run_graph(), expected, atol=1e-5)

    def test_an_untrained_head_is_drawn(self) -> None:
        expected = self.expected(untrained_head(HIDDEN, 1))
        self.export(model(head="untrained"), weights(classifier=False))
        np.testing.assert_allclose(self.run_graph(), expected, atol=1e-5)

    def test_a_head_that_would_hide_another_or_is_missing_is_refused(self) -> None:
        for entry, classifier, named in (
            (model(head="untrained"), True, "not both"),
            (model(), False, "untrained"),
            (model(head="trained"), False, "`trained`"),
            (model("bi_encoder", head="untrained"), False, "for a cross-encoder"),
        ):
            with self.subTest(named), self.assertRaisesRegex(encoders.EncoderError, named):
                self.export(entry, weights(classifier))

    def test_the_8_bit_variant_quantises_every_product_and_has_the_same_bytes_again(self) -> None:
        entry = model(files=(quantize.GRAPH,))
        self.export(entry, weights(classifier=True))
        path = self.folder / quantize.GRAPH
        counts = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
        self.assertEqual((counts["QAttention"], counts["MatMulInteger"]), (LAYERS, 3 * LAYERS + 2))
        self.assertEqual(counts["Attention"] + counts["MatMul"] + counts["Gemm"], 0)
        np.testing.assert_allclose(self.run_graph(quantize.GRAPH), self.run_graph(), atol=0.3)
        first = path.read_bytes()
        self.export(entry, weights(classifier=True))
        self.assertEqual(path.read_bytes(), first)


if __name__ == "__main__":
    unittest.main()
