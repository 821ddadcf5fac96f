"""The encoder recipe on tiny checkpoints of every family, held to what the reference libraries compute from them."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tiny_encoders
from poq_export import checkpoint_encoder, deberta, drift, encoder_gate, encoders, half, recipes
from poq_export.checkpoint import INDEX, WEIGHTS, CheckpointError
from poq_export.encoder_gate import Encoder, EncoderGateError
from poq_export.fetch import sha256
from poq_export.registry import Artifact, Export, Model, PathSource
from safetensors.numpy import save_file
from tiny_encoders import ENCODERS, TinyEncoder

REFERENCES = Path(__file__).resolve().parents[1] / "references"
TOLERANCE = 1e-5
VARIANTS = [variant.GRAPH for variant in encoders.VARIANTS.values()]
SHORT = [("who was the king of france", "the king was in paris"), ("a cat", "dog"), ("no", ""), ("water is good", "the sun")]

# what would make another model of a tiny checkpoint without any error
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"layer_norm_eps": 0.1}),
    ("bert", {"num_attention_heads": 2}),
    ("deberta", {"max_relative_positions": 100}),
    ("deberta", {"num_attention_heads": 2}),
    ("deberta_plain", {"max_relative_positions": 40}),
    ("roberta", {"layer_norm_eps": 0.1}),
    ("roberta", {"pad_token_id": 0}),
]
# a configuration that says something else: checkpoint, file, change, what the error names
CONTRADICTIONS: list[tuple[str, str, dict[str, Any], str]] = [
    ("bert", "config.json", {"model_type": "albert"}, "model_type `albert`"),
    ("bert", "config.json", {"hidden_act": "relu"}, "`hidden_act` is `relu`"),
    ("bert", "config.json", {"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
    ("bert", "config.json", {"position_embedding_type": "relative_key"}, "relative_key"),
    ("bert", "config.json", {"is_decoder": True}, "is_decoder"),
    ("bert", "config.json", {"adapter_size": 8}, "`adapter_size`"),
    ("bert", "config.json", {"intermediate_size": 64}, "shape"),
    ("bert", "config.json", {"num_hidden_layers": 2}, "encoder.layer.2.*not part"),
    ("bert", "config.json", {"num_hidden_layers": 4}, "encoder.layer.3.*missing"),
    ("bert", "config.json", {"sentence_transformers": None}, "`logit`.*`Sigmoid` .*default"),
    ("bert", "config.json", {"id2label": {"0": "a", "1": "b"}}, "none.*a, b"),
    ("bert", "config.json", {"id2label": {"1": "a"}}, "numbers its labels 1"),
    ("bert", "config.json", {"num_labels": 3}, "`num_labels` is 3"),
    ("bert", "tokenizer_config.json", {"model_max_length": 128}, "is 512, `tokenizer_config.json` says 128"),
    ("bert", "tokenizer_config.json", {"do_lower_case": False}, "lowercase True"),
    ("bert", "tokenizer_config.json", {"cls_token": "<s>"}, "without <s>"),
    ("deberta", "config.json", {"conv_kernel_size": 3}, "conv_kernel_size"),
    ("deberta", "config.json", {"share_att_key": False}, "share_att_key"),
    ("deberta", "config.json", {"position_biased_input": True}, "position_biased_input"),
    ("deberta", "config.json", {"position_biased_input": None}, "position_biased_input"),
    ("deberta", "config.json", {"pos_att_type": ["c2p"]}, "pos_att_type"),
    ("deberta", "config.json", {"type_vocab_size": 2}, "type_vocab_size"),
    ("deberta", "config.json", {"pooler_hidden_act": "tanh"}, "pooler_hidden_act"),
    ("deberta", "config.json", {"norm_rel_ebd": "batch_norm"}, "norm_rel_ebd"),
    ("deberta", "config.json", {"norm_rel_ebd": "none"}, "encoder.LayerNorm.*not part"),
    ("deberta", "config.json", {"position_buckets": 8}, "rel_embeddings.*shape"),
    ("deberta", "config.json", {"max_position_embeddings": 256}, "positions for 256"),
    ("deberta", "config.json", {"id2label": {"0": "entailment", "1": "neutral", "2": "contradiction"}},
     "contradiction, entailment, neutral; .* entailment, neutral, contradiction"),
    ("deberta", "config.json", {"sentence_transformers": {"activation_fn": "torch.nn.Sigmoid"}}, "Sigmoid.*3 labels"),
    ("roberta", "config.json", {"type_vocab_size": 2}, "type_vocab_size"),
    ("roberta", "config.json", {"max_position_embeddings": 70}, "positions for 68"),
    ("roberta", "sentence_bert_config.json", {"max_seq_length": 128}, "is 75, `sentence_bert_config.json` says 128"),
    ("roberta", "sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
    ("roberta", "sentence_bert_config.json", {"stride": 4}, "`stride`"),
    ("roberta", "1_Pooling/config.json", {"pooling_mode_cls_token": True}, "cls, mean"),
    ("roberta", "1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
     "`mean`, .*`cls`"),
    ("roberta", "1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "weightedmean"),
]  # fmt: skip


def model(tiny: TinyEncoder, files: dict[str, Path], variants: list[str] | None = None) -> Model:
    """A registry entry for a tiny checkpoint."""
    artifacts = [Artifact(name, sha256(path), [PathSource(str(path))]) for name, path in sorted(files.items())]
    return Model(
        key=tiny.key, pool="none", role="evaluator", architecture=tiny.architecture, precision="f32", name=tiny.key,
        upstream="none", licence="MIT", max_length=tiny.max_length, artifact=artifacts, scoring=tiny.scoring,
        files=["model.onnx", *(variants or []), "tokenizer.json"], export=Export("checkpoint_encoder", TOLERANCE),
    )  # fmt: skip


class Case(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def checkpoint(self, tiny: TinyEncoder, tensors: dict[str, np.ndarray] | None = None) -> dict[str, Path]:
        """The files of a tiny checkpoint, in a new folder."""
        return tiny_encoders.write(tiny, Path(tempfile.mkdtemp(dir=self.folder)), tensors)

    def export(self, tiny: TinyEncoder, files: dict[str, Path] | None = None, variants: list[str] | None = None) -> Encoder:
        """Run the recipe; returns the exported model."""
        files = files or self.checkpoint(tiny)
        out = Path(tempfile.mkdtemp(dir=self.folder))
        entry = model(tiny, files, variants)
        checkpoint_encoder.export(entry, files, out)
        self.out = out
        return Encoder(entry, out)

    def changed(self, tiny: TinyEncoder, name: str, changes: dict[str, Any]) -> dict[str, Path]:
        """A checkpoint one of whose documents says something else; `None` takes a field out."""
        files = self.checkpoint(tiny)
        content = json.loads(files[name].read_text()) | changes
        kept = {field: value for field, value in content.items() if changes.get(field, value) is not None}
        files[name].write_text(json.dumps(kept))
        return files


class Parity(Case):
    def gate(self, tiny: TinyEncoder, files: dict[str, Path], recorded: dict[str, Any]) -> dict[str, Any]:
        encoder = self.export(tiny, files)
        return encoder_gate.check(encoder.model, self.out, recorded)

    def test_every_family_equals_its_reference_alone_and_in_a_padded_batch(self) -> None:
        for name, tiny in ENCODERS.items():
            with self.subTest(name):
                recorded = json.loads((REFERENCES / f"{tiny.key}.json").read_text(encoding="utf-8"))
                figures = self.gate(tiny, self.checkpoint(tiny), recorded)
                lengths = {len(entry["ids"]) for entry in recorded["inputs"]}
                self.assertTrue(figures["rows_independent"])
                self.assertGreater(max(lengths), 2 * tiny.config.get("position_buckets", 16))
                self.assertTrue(any(length % 2 for length in lengths))
                spread = np.ptp([entry["output"] for entry in recorded["inputs"]], axis=0).min()
                self.assertGreater(spread, 0.05)  # or equality would prove little

    def test_a_configuration_that_changes_the_arithmetic_does_not_pass(self) -> None:
        for name, changes in FAULTS:
            with self.subTest(name, **changes), self.assertRaisesRegex(EncoderGateError, "differs from the reference"):
                tiny = ENCODERS[name]
                files = self.changed(tiny, "config.json", changes)
                recorded = json.loads((REFERENCES / f"{tiny.key}.json").read_text(encoding="utf-8"))
                self.gate(tiny, files, recorded | {"artifacts": {name: sha256(path) for name, path in files.items()}})

    def test_buckets_are_those_of_the_reference_at_every_distance(self) -> None:
        for table in json.loads((REFERENCES / "log_buckets.json").read_text(encoding="utf-8"))["tables"]:
            distances = np.arange(len(table["of"]))
            for sign in (1, -1):
                found = deberta.log_buckets(sign * distances, table["buckets"], table["longest"])
                np.testing.assert_array_equal(found, sign * np.array(table["of"]))

    def test_shards_and_the_names_of_older_checkpoints_are_read(self) -> None:
        tiny = ENCODERS["roberta"]
        expected = self.vectors(self.export(tiny))
        tensors = tiny_encoders.weights(tiny)
        older = {name if "position_ids" in name else f"roberta.{name}": array for name, array in tensors.items()}
        del older["embeddings.position_ids"]
        np.testing.assert_array_equal(self.vectors(self.export(tiny, self.checkpoint(tiny, older))), expected)

        files = self.checkpoint(tiny)
        folder = files.pop(WEIGHTS).parent
        parts = {"one.safetensors": sorted(tensors)[::2], "two.safetensors": sorted(tensors)[1::2]}
        for shard, names in parts.items():
            save_file({name: tensors[name] for name in names}, folder / shard)
            files[shard] = folder / shard
        places = {name: shard for shard, names in parts.items() for name in names}
        files[INDEX] = folder / INDEX
        files[INDEX].write_text(json.dumps({"metadata": {}, "weight_map": places}))
        np.testing.assert_array_equal(self.vectors(self.export(tiny, files)), expected)

    def vectors(self, encoder: Encoder) -> np.ndarray:
        return encoder.run([encoder.tokenize(text) for text, _ in SHORT])


class Variants(Case):
    def test_every_variant_is_written_is_near_and_has_the_same_bytes_again(self) -> None:
        for name in ("bert", "deberta", "roberta"):
            with self.subTest(name):
                exact = self.export(ENCODERS[name], variants=VARIANTS)
                first = {graph: (self.out / graph).read_bytes() for graph in VARIANTS}
                rows = [exact.tokenize(pair if exact.model.architecture == "cross_encoder" else pair[0]) for pair in SHORT]
                expected = exact.run(rows)
                for graph, near in zip(VARIANTS, (0.5, 0.5, 0.01), strict=True):
                    found = Encoder(exact.model, self.out, graph).run(rows)
                    self.assertEqual(found.dtype, np.float32)
                    difference = np.abs(found - expected).max()
                    self.assertTrue(0 < difference < near, f"{graph} differs by {difference}")
                self.export(ENCODERS[name], variants=VARIANTS)
                self.assertEqual({graph: (self.out / graph).read_bytes() for graph in VARIANTS}, first)

    def test_f16_halves_the_file_and_leaves_only_a_classifier_in_f32(self) -> None:
        for name, kept in (("bert", {"classifier.weight", "classifier.bias"}), ("roberta", set())):
            exact = self.export(ENCODERS[name], variants=[half.GRAPH])
            sizes = [(self.out / graph).stat().st_size for graph in ("model.onnx", half.GRAPH)]
            self.assertLess(sizes[1], 0.65 * sizes[0])
            graph = onnx.load(self.out / half.GRAPH).graph
            wide = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
            self.assertEqual(wide, kept)
            self.assertEqual([value.type for value in exact.session.get_outputs()], ["tensor(float)"])

    def test_the_drift_of_f16_is_measured_where_the_registry_lists_it(self) -> None:
        recipe = recipes.RECIPES["checkpoint_encoder"]
        plain = self.export(ENCODERS["deberta"])
        self.assertFalse(recipe.measures_drift(plain.model))
        exact = self.export(ENCODERS["deberta"], variants=[half.GRAPH])
        self.assertTrue(recipe.measures_drift(exact.model))
        graphs = {"f32": exact, "f16": Encoder(exact.model, self.out, half.GRAPH)}
        figures = drift.measure({name: drift.scorer(encoder) for name, encoder in graphs.items()}, SHORT)
        self.assertTrue(0 < figures["f16"]["difference_largest"] < 0.005)
        self.assertLess(figures["f16"]["batch_mate_largest"], 0.005)

    def test_a_weight_that_f16_cannot_hold_is_named(self) -> None:
        tiny = ENCODERS["bert"]
        tensors = tiny_encoders.weights(tiny)
        tensors["bert.embeddings.word_embeddings.weight"][3, 4] = 70000
        with self.assertRaisesRegex(half.HalfError, "word_embeddings.weight.*70000"):
            self.export(tiny, self.checkpoint(tiny, tensors), [half.GRAPH])


class Padding(Case):
    def test_what_stands_where_the_mask_is_zero_does_not_matter(self) -> None:
        for name in ("bert", "deberta", "roberta"):
            encoder = self.export(ENCODERS[name], variants=[half.GRAPH])
            for graph in ("model.onnx", half.GRAPH):
                session = Encoder(encoder.model, self.out, graph).session
                real = np.array([[2, 7, 9, 30, 3]])
                alone = self.run_padded(session, real, 0, 0)
                for padding, token in ((1, 1), (14, 0), (40, 11)):
                    with self.subTest(name, graph=graph, padding=padding):
                        np.testing.assert_allclose(self.run_padded(session, real, padding, token), alone, atol=2e-3)
                        if graph == "model.onnx":
                            np.testing.assert_allclose(self.run_padded(session, real, padding, token), alone, atol=2e-6)

    def run_padded(self, session: onnxruntime.InferenceSession, ids: np.ndarray, padding: int, token: int) -> np.ndarray:
        width = ((0, 0), (0, padding))
        feeds = {
            "input_ids": np.pad(ids, width, constant_values=token),
            "attention_mask": np.pad(np.ones_like(ids), width),
            "token_type_ids": np.pad(np.zeros_like(ids), width),
        }
        (output,) = session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})
        return output[:, : ids.shape[1]] if output.ndim == 3 else output


class Refusals(Case):
    def test_what_contradicts_the_published_configuration_is_named(self) -> None:
        for name, document, changes, named in CONTRADICTIONS:
            with self.subTest(name, document=document, **changes), self.assertRaisesRegex(CheckpointError, named):
                self.export(ENCODERS[name], self.changed(ENCODERS[name], document, changes))

    def test_a_registry_that_contradicts_it_is_named(self) -> None:
        for name, changes, named in (
            ("deberta", {"labels": ["entailment", "neutral", "contradiction"]}, "are entailment, neutral, contradiction;"),
            ("deberta", {"labels": None}, "labels are none; .*contradiction, entailment, neutral"),
            ("bert", {"labels": ["relevant"]}, "relevant; .*LABEL_0"),
            ("bert", {"head": "sigmoid"}, "`sigmoid`, .*`Identity`"),
            ("roberta", {"pooling": "cls"}, "`cls`, .*`mean`"),
        ):
            scoring = dataclasses.replace(ENCODERS[name].scoring, **changes)
            with self.subTest(name, **changes), self.assertRaisesRegex(CheckpointError, named):
                self.export(dataclasses.replace(ENCODERS[name], scoring=scoring))

    def test_files_that_are_missing_or_need_torch_are_named(self) -> None:
        for missing in ("modules.json", "1_Pooling/config.json", "tokenizer.json", WEIGHTS, "config.json"):
            files = self.checkpoint(ENCODERS["roberta"])
            del files[missing]
            named = "model_type" if missing == "config.json" else missing
            with self.subTest(missing), self.assertRaisesRegex(CheckpointError, named):
                self.export(ENCODERS["roberta"], files)
        files["pytorch_model.bin"] = files.pop(WEIGHTS)
        with self.assertRaisesRegex(CheckpointError, "`pytorch_model.bin`, which only torch reads; `model.safetensors`"):
            self.export(ENCODERS["roberta"], files)

    def test_modules_beyond_pooling_are_named(self) -> None:
        tiny = ENCODERS["roberta"]
        files = self.checkpoint(tiny)
        modules = json.loads(files["modules.json"].read_text())
        for kind, refused in (("Normalize", False), ("Dense", True)):
            added = {"idx": 2, "name": "2", "path": "2", "type": f"sentence_transformers.models.{kind}"}
            files["modules.json"].write_text(json.dumps([*modules, added]))
            if refused:
                with self.assertRaisesRegex(CheckpointError, "Transformer, Pooling, Dense"):
                    self.export(tiny, files)
            else:
                self.export(tiny, files)

    def test_a_tokenizer_without_its_template_is_refused(self) -> None:
        for name in ("bert", "deberta", "roberta"):
            files = self.changed(ENCODERS[name], "tokenizer.json", {"post_processor": None})
            with self.subTest(name), self.assertRaisesRegex(CheckpointError, "without"):
                self.export(ENCODERS[name], files)

    def test_a_tokenizer_with_more_tokens_than_the_graph_is_refused(self) -> None:
        tiny = ENCODERS["bert"]
        tensors = tiny_encoders.weights(tiny)
        table = "bert.embeddings.word_embeddings.weight"
        tensors[table] = tensors[table][:50]
        files = self.changed(tiny, "config.json", {"vocab_size": 50})
        files[WEIGHTS] = self.checkpoint(tiny, tensors)[WEIGHTS]
        with self.assertRaisesRegex(CheckpointError, "50 tokens"):
            self.export(tiny, files)


class Templates(Case):
    def test_pairs_are_joined_by_each_model_s_own_template(self) -> None:
        wanted = {
            "bert": (["[CLS]", "cat", "[SEP]", "dog", "[SEP]"], [0, 0, 0, 1, 1]),
            "deberta": (["[CLS]", "▁cat", "[SEP]", "▁dog", "[SEP]"], [0, 0, 0, 1, 1]),
            "roberta": (["<s>", "c", "a", "t", "</s>", "</s>", "d", "o", "g", "</s>"], [0] * 10),
        }
        for name, (tokens, types) in wanted.items():
            encoding = self.export(ENCODERS[name]).tokenize(("cat", "dog"))
            self.assertEqual((encoding.tokens, encoding.type_ids), (tokens, types), name)


if __name__ == "__main__":
    unittest.main()
