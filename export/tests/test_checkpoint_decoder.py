"""The checkpoint recipe on tiny checkpoints of every family, held to what transformers computes from them."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tiny_families
import tiny_fixtures.vocabulary
from ml_dtypes import bfloat16
from poq_export import checkpoint_decoder, checkpoint_text, decoder_gate, manifest, pipeline, references
from poq_export.checkpoint import Checkpoint, CheckpointError, CheckpointTensors
from poq_export.decoder_gate import Gate, GateFailure
from poq_export.decoder_graph import DecoderGraph
from poq_export.decoder_session import DecoderSession
from poq_export.families import describe
from poq_export.fetch import sha256
from poq_export.graph import EXTERNAL_DATA
from poq_export.registry import Artifact, Decoder, Export, Model, PathSource
from poq_export.rounding import rounded
from poq_export.wheels import WheelStore
from safetensors.numpy import save_file
from tiny_families import FAMILIES, Tiny

REFERENCES = Path(__file__).resolve().parents[1] / "references"
TOLERANCE = 2e-4
ROUNDED_TOLERANCE = 20.0  # random weights forgive nothing; what is rounded correctly is tested by itself
FILES = ["model.onnx", "tokenizer.json", "chat_template.jinja"]

# the layout of transformers 5, where it differs from the one that the tiny checkpoints are written in
NEWER: dict[str, dict[str, Any]] = {
    "llama": {"rope_parameters": {"rope_theta": 10000.0} | tiny_families.LLAMA3, "head_dim": 16, "pad_token_id": None},
    "llama_tied": {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "num_key_value_heads": 4},
    "llama_both": {"rope_parameters": {"rope_theta": 10000.0} | tiny_families.LLAMA3, "head_dim": 16, "pad_token_id": None},
    "qwen2": {
        "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "layer_types": ["full_attention"] * 3, "sliding_window": None,
    },
    "qwen2_window": {
        "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
    },
    "phi3": {"rope_parameters": {"partial_rotary_factor": 1.0, "rope_theta": 10000.0, "rope_type": "default"}},
    "phi3_long": {
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
            "original_max_position_embeddings": 128,
        } | tiny_families.LONG,
    },
    "gemma2": {
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "use_bidirectional_attention": None,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "tie_word_embeddings": True,
    },
    "gemma3": {
        "rope_parameters": {
            "full_attention": {"factor": 4.0, "rope_theta": 100000.0, "rope_type": "linear"},
            "sliding_attention": {"rope_theta": 1000.0, "rope_type": "default"},
        },
        "_sliding_window_pattern": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    },
}  # fmt: skip
OLDER_ONLY = ("rope_theta", "rope_scaling", "rope_local_base_freq", "torch_dtype")

# what would make another model of a tiny checkpoint without any error
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rope_scaling": None}),
    ("llama", {"rope_scaling": tiny_families.LLAMA3 | {"original_max_position_embeddings": 128}}),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 8.0}}),
    ("llama", {"rms_norm_eps": 1e-2}),
    ("llama_tied", {"rope_theta": 20000.0}),
    ("qwen2", {"use_sliding_window": True}),
    ("qwen2_window", {"sliding_window": 7}),
    ("qwen2_window", {"sliding_window": 9}),
    ("qwen2_window", {"max_window_layers": 2}),
    ("phi3", {"sliding_window": 9}),
    ("phi3", {"sliding_window": None}),
    ("phi3_long", {"rope_scaling": None}),
    ("phi3_long", {"max_position_embeddings": 512}),
    ("gemma2", {"attn_logit_softcapping": None}),
    ("gemma2", {"final_logit_softcapping": None}),
    ("gemma2", {"query_pre_attn_scalar": 32}),
    ("gemma2", {"sliding_window": 7}),
    ("gemma2", {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
    ("gemma3", {"rope_scaling": None}),
    ("gemma3", {"rope_local_base_freq": 100000.0}),
    ("gemma3", {"sliding_window": 9}),
    ("gemma3", {"sliding_window_pattern": 2}),
]


def model(tiny: Tiny, quantization: str = "none", artifacts: dict[str, Path] | None = None) -> Model:
    """A registry entry for a tiny checkpoint; `artifacts` are the files that its entry is to name."""
    listed = [Artifact(name, sha256(path), [PathSource(str(path))]) for name, path in sorted((artifacts or {}).items())]
    return Model(
        key=tiny.key, pool="none", role="inference", architecture="decoder", precision="f32", name=tiny.key, upstream="none",
        licence="MIT", max_length=tiny.positions, files=FILES, artifact=listed,
        export=Export("checkpoint_decoder", TOLERANCE if quantization == "none" else ROUNDED_TOLERANCE, quantization),
        decoder=Decoder("chat_template.jinja", ["<|im_end|>", "<|endoftext|>"], "<|im_end|>", "<|im_start|>"),
    )  # fmt: skip


def changed(tiny: Tiny, **fields: Any) -> Tiny:
    """The same checkpoint with another configuration."""
    return dataclasses.replace(tiny, config=tiny.config | fields)


@functools.cache
def reference(key: str) -> dict[str, Any]:
    """A committed recording."""
    return json.loads((REFERENCES / f"{key}.json").read_text(encoding="utf-8"))


class Case(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def checkpoint(self, tiny: Tiny) -> dict[str, Path]:
        """The files of a tiny checkpoint, in a new folder."""
        return tiny_families.write(tiny, Path(tempfile.mkdtemp(dir=self.folder)))

    def export(self, tiny: Tiny, quantization: str = "none", files: dict[str, Path] | None = None) -> Path:
        """Run the recipe; returns the folder it wrote to."""
        out_dir = Path(tempfile.mkdtemp(dir=self.folder))
        checkpoint_decoder.export(model(tiny, quantization), files or self.checkpoint(tiny), out_dir)
        return out_dir


class Parity(Case):
    def test_every_family_says_what_the_reference_says(self) -> None:
        for tiny in FAMILIES.values():
            with self.subTest(tiny.name):
                files, out_dir = self.checkpoint(tiny), self.folder / tiny.name
                out_dir.mkdir()
                named = {name: files[name] for name in ("config.json", "model.safetensors")}
                entry = model(tiny, artifacts=named)
                checkpoint_decoder.export(entry, files, out_dir)
                figures = decoder_gate.check(entry, out_dir, reference(tiny.key))
                self.assertLess(figures["mean_abs_difference"], 2e-5)
                self.assertGreater(figures["greedy_agreement"], 0.9)

    def test_the_gate_refuses_a_graph_with_a_fault(self) -> None:
        for name, fields in FAULTS:
            with self.subTest(name, **fields):
                tiny = changed(FAMILIES[name], **fields)
                out_dir = self.export(tiny)
                with self.assertRaises(GateFailure):
                    Gate(model(tiny), reference(tiny.key)).run(out_dir / "model.onnx")

    def test_rows_beyond_a_window_are_recorded(self) -> None:
        for tiny in FAMILIES.values():
            lengths = [len(entry["ids"]) for entry in reference(tiny.key)["inputs"]]
            self.assertLess(min(lengths), tiny_families.WINDOW)
            self.assertGreater(max(lengths), 4 * tiny_families.WINDOW)


class Caches(Case):
    def test_one_buffer_for_past_and_present_changes_nothing(self) -> None:
        for tiny in FAMILIES.values():
            with self.subTest(tiny.name):
                session = DecoderSession(self.export(tiny) / "model.onnx")
                prompts = [entry["ids"] for entry in reference(tiny.key)["inputs"]]
                logits, tokens = session.greedy(prompts, 24)
                longest = max(map(len, prompts)) + 24
                for length in (longest, tiny.positions):
                    in_place = session.greedy(prompts, 24, cache_length=length)
                    np.testing.assert_array_equal(in_place[1], tokens)
                    np.testing.assert_allclose(in_place[0], logits, atol=1e-5)

    def test_a_row_continued_in_pieces_is_the_row_at_once(self) -> None:
        for tiny in FAMILIES.values():
            ids = np.array([max((entry["ids"] for entry in reference(tiny.key)["inputs"]), key=len)])
            session = DecoderSession(self.export(tiny) / "model.onnx")
            whole = session.cache(1).run(ids, np.array([ids.shape[1]]), np.array([ids.shape[1] - 1]))
            for length in (None, tiny.positions):
                for pieces in ((20,), (3, 11, 30), (1, 2, 40)):
                    with self.subTest(tiny.name, in_place=length is not None, pieces=pieces):
                        cache, start = session.cache(1, length), 0
                        for end in (*pieces, ids.shape[1]):
                            logits = cache.run(ids[:, start:end], np.array([end]), np.array([end - start - 1]))
                            start = end
                        np.testing.assert_allclose(logits, whole, atol=1e-4)


class Layouts(Case):
    def test_both_layouts_of_a_configuration_give_one_graph(self) -> None:
        for name, tiny in FAMILIES.items():
            with self.subTest(name):
                kept = {field: value for field, value in tiny.config.items() if field not in OLDER_ONLY}
                newer = dataclasses.replace(tiny, config=kept | NEWER[name] | {"dtype": "float32"})
                older = (self.export(tiny) / "model.onnx").read_bytes()
                self.assertEqual((self.export(newer) / "model.onnx").read_bytes(), older)

    def test_shards_give_the_graph_of_one_file(self) -> None:
        tiny = FAMILIES["gemma3"]
        whole, files = (self.export(tiny) / "model.onnx").read_bytes(), self.sharded(tiny)
        self.assertEqual((self.export(tiny, files=files) / "model.onnx").read_bytes(), whole)

    def test_an_index_that_does_not_fit_is_refused_by_name(self) -> None:
        tiny = FAMILIES["llama"]
        for damage, named in (
            (lambda files: files.pop("model-2.safetensors"), "`model-2.safetensors`"),
            (lambda files: self.move(files, "model.norm.weight"), "`model.norm.weight`"),
            (lambda files: files.update({"model.safetensors": files["model-1.safetensors"]}), "both `model.safetensors`"),
        ):
            files = self.sharded(tiny)
            damage(files)
            with self.subTest(named), self.assertRaisesRegex(CheckpointError, named):
                self.export(tiny, files=files)

    def test_half_precision_is_read_exactly(self) -> None:
        tiny = FAMILIES["phi3"]
        for kind in (bfloat16, np.float16):
            stored = {name: array.astype(kind) for name, array in tiny_families.weights(tiny).items()}
            graphs = []
            for tensors in (stored, {name: array.astype(np.float32) for name, array in stored.items()}):
                files = self.checkpoint(tiny)
                save_file(tensors, files["model.safetensors"])
                graphs.append((self.export(tiny, files=files) / "model.onnx").read_bytes())
            self.assertEqual(*graphs)

    def sharded(self, tiny: Tiny) -> dict[str, Path]:
        """The checkpoint with every other tensor in a second file."""
        files, tensors = self.checkpoint(tiny), tiny_families.weights(tiny)
        folder = files.pop("model.safetensors").parent
        places = {name: f"model-{number % 2 + 1}.safetensors" for number, name in enumerate(tensors)}
        for shard in set(places.values()):
            files[shard] = folder / shard
            save_file({name: array for name, array in tensors.items() if places[name] == shard}, files[shard])
        files["model.safetensors.index.json"] = folder / "model.safetensors.index.json"
        tiny_families.write_json(files["model.safetensors.index.json"], {"metadata": {}, "weight_map": places})
        return files

    @staticmethod
    def move(files: dict[str, Path], tensor: str) -> None:
        """Let the index name the other shard for a tensor."""
        path = files["model.safetensors.index.json"]
        index = json.loads(path.read_text())
        index["weight_map"][tensor] = {"model-1.safetensors": "model-2.safetensors"}.get(
            index["weight_map"][tensor], "model-1.safetensors"
        )
        tiny_families.write_json(path, index)


class External(Case):
    def test_weights_in_a_file_of_their_own_change_nothing(self) -> None:
        tiny = FAMILIES["gemma3"]
        prompts = [entry["ids"] for entry in reference(tiny.key)["inputs"]]
        for quantization in checkpoint_decoder.BITS:
            with self.subTest(quantization):
                entry, out_dir = model(tiny, quantization), Path(tempfile.mkdtemp(dir=self.folder))
                checkpoint_decoder.export(
                    dataclasses.replace(entry, files=[*FILES, EXTERNAL_DATA]), self.checkpoint(tiny), out_dir
                )
                self.assertGreater((out_dir / EXTERNAL_DATA).stat().st_size, (out_dir / "model.onnx").stat().st_size)
                one_file = DecoderSession(self.export(tiny, quantization) / "model.onnx").greedy(prompts, 4)
                found = DecoderSession(out_dir / "model.onnx").greedy(prompts, 4)
                np.testing.assert_array_equal(found[0], one_file[0])
                figures = Gate(entry, reference(tiny.key)).run(out_dir / "model.onnx")
                self.assertTrue(figures["passed"])


class Refusals(Case):
    def test_a_field_that_cannot_be_built_is_refused_by_name(self) -> None:
        scaled = {"rope_type": "yarn", "factor": 2.0}
        for name, fields, named in (
            ("llama", {"model_type": "mamba"}, "model_type `mamba`"),
            ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "`architectures`"),
            ("llama", {"attention_bias": True}, "`attention_bias`"),
            ("llama", {"mlp_bias": True}, "`mlp_bias`"),
            ("llama", {"hidden_act": "gelu"}, "`hidden_act`"),
            ("llama", {"quantization_config": {"bits": 4}}, "`quantization_config`"),
            ("llama", {"sliding_window": 8}, "`sliding_window`"),
            ("llama", {"residual_multiplier": 0.5}, "`residual_multiplier`"),
            ("llama", {"rope_scaling": scaled}, "`yarn`"),
            ("llama", {"rope_scaling": tiny_families.LLAMA3 | {"betas": 1}}, "`betas`"),
            ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "original_max_position_embeddings"),
            ("llama", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}, "`rope_theta` stands beside"),
            ("llama", {"partial_rotary_factor": 0.5}, "`partial_rotary_factor`"),
            ("llama", {"max_position_embeddings": 128}, "`max_length` is 256"),
            ("llama", {"head_dim": 24}, "heads of 24"),
            ("llama", {"rms_norm_eps": None}, "`rms_norm_eps` is missing"),
            ("qwen2", {"rope_theta": None}, "`rope_theta` is missing"),
            ("qwen2", {"layer_types": ["sliding_attention"] * 3}, "`sliding_window` is missing"),
            ("qwen2_window", {"layer_types": ["chunked_attention"] * 3}, "`chunked_attention`"),
            ("qwen2_window", {"max_window_layers": None}, "`max_window_layers`"),
            ("phi3", {"rope_scaling": tiny_families.LONG, "original_max_position_embeddings": 32}, "more than 32 tokens"),
            ("gemma2", {"hidden_activation": "gelu"}, "`hidden_activation`"),
            ("gemma2", {"use_bidirectional_attention": True}, "`use_bidirectional_attention`"),
            ("gemma3", {"attn_logit_softcapping": 50.0}, "`attn_logit_softcapping`"),
            ("gemma3", {"sliding_window_pattern": None}, "`layer_types`"),
            ("gemma3", {"rope_parameters": {"rope_theta": 1e4}}, "stands beside"),
        ):
            entry, config = model(FAMILIES[name]), FAMILIES[name].config | fields
            with self.subTest(name, **fields), self.assertRaisesRegex(CheckpointError, named):
                describe(config, min(entry.max_length, tiny_families.POSITIONS))

    def test_a_field_that_is_missing_where_it_has_no_usual_value_is_named(self) -> None:
        for name, field in (
            ("gemma2", "attn_logit_softcapping"), ("gemma2", "final_logit_softcapping"), ("gemma2", "head_dim"),
            ("gemma3", "query_pre_attn_scalar"), ("gemma3", "sliding_window"), ("gemma3", "rope_local_base_freq"),
            ("qwen2", "num_key_value_heads"), ("phi3", "sliding_window"), ("llama", "vocab_size"),
        ):  # fmt: skip
            config = {key: value for key, value in FAMILIES[name].config.items() if key != field}
            with self.subTest(name, field=field), self.assertRaisesRegex(CheckpointError, f"`{field}` is missing"):
                describe(config, FAMILIES[name].positions)

    def test_a_tensor_that_does_not_fit_is_refused_by_name(self) -> None:
        extra = np.ones(4, np.float32)
        for name, tensors, named in (
            ("llama", {"model.layers.0.self_attn.q_norm.weight": extra}, "`model.layers.0.self_attn.q_norm.weight` is not"),
            ("llama", {"model.norm.weight": None}, "`model.norm.weight` is missing"),
            ("llama", {"model.norm.weight": extra}, "`model.norm.weight` has shape"),
            ("phi3", {"model.layers.1.mlp.gate_up_proj.weight": np.ones((96, 64), np.float32)}, "gate_up_proj.* has shape"),
            ("qwen2", {"lm_head.weight": np.ones((320, 64), np.float32)}, "`lm_head.weight` differs"),
            ("gemma2", {"model.norm.weight": np.ones(64, np.int32)}, "is I32"),
        ):
            tiny, stored = FAMILIES[name], tiny_families.weights(FAMILIES[name]) | tensors
            files = self.checkpoint(tiny)
            save_file({key: array for key, array in stored.items() if array is not None}, files["model.safetensors"])
            with self.subTest(named), self.assertRaisesRegex(CheckpointError, named):
                self.export(tiny, files=files)

    def test_a_tied_head_may_be_stored_again(self) -> None:
        tiny, files = FAMILIES["qwen2"], self.checkpoint(FAMILIES["qwen2"])
        stored = tiny_families.weights(tiny)
        save_file(stored | {"lm_head.weight": stored["model.embed_tokens.weight"].copy()}, files["model.safetensors"])
        again, once = self.export(tiny, files=files), self.export(tiny)
        self.assertEqual((again / "model.onnx").read_bytes(), (once / "model.onnx").read_bytes())

    def test_an_unknown_quantization_is_refused(self) -> None:
        with self.assertRaisesRegex(CheckpointError, "`keep` is not one of none, int8, int4"):
            self.export(FAMILIES["llama"], "keep")


class Rounded(Case):
    def test_rounded_graphs_run_and_report_how_far_they_stray(self) -> None:
        for name in ("llama", "qwen2", "phi3", "gemma2", "gemma3"):
            means = {}
            for quantization in ("int8", "int4"):
                with self.subTest(name, quantization=quantization):
                    tiny = FAMILIES[name]
                    out_dir = self.export(tiny, quantization)
                    figures = Gate(model(tiny, quantization), reference(tiny.key)).run(out_dir / "model.onnx")
                    for figure in ("max_abs_difference", "mean_abs_difference", "top1_agreement", "greedy_agreement"):
                        self.assertIn(figure, figures)
                    means[quantization] = figures["mean_abs_difference"]
            self.assertLess(means["int8"], 0.3)
            self.assertLess(means["int8"], means["int4"])

    def test_rounding_is_all_that_differs(self) -> None:
        """With f32 activations it is the f32 graph of the weights that the blocks stand for."""
        for name in ("qwen2", "qwen2_window", "gemma3"):
            for quantization, bits in checkpoint_decoder.BITS.items():
                if bits is None:
                    continue
                with self.subTest(name, bits=bits):
                    tiny = FAMILIES[name]
                    checkpoint = Checkpoint(self.checkpoint(tiny))
                    described = describe(tiny.config, tiny.positions)
                    tensors = MultipliedOut(checkpoint, described.places, bits, {})
                    builder = DecoderGraph(described.architecture, tensors, share_table=True)
                    builder.build()
                    builder.graph.save(self.folder / "expected.onnx", external=False)
                    found = self.export(tiny, quantization) / "model.onnx"
                    with_f32_activations(found)
                    prompts = [entry["ids"] for entry in reference(tiny.key)["inputs"]]
                    expected, _ = DecoderSession(self.folder / "expected.onnx").greedy(prompts, 1)
                    logits, _ = DecoderSession(found).greedy(prompts, 1)
                    np.testing.assert_allclose(logits, expected, atol=5e-3)

    def test_every_matrix_is_rounded_and_a_tied_table_is_stored_once(self) -> None:
        for name, tables in (("gemma3", 1), ("llama", 2)):
            with self.subTest(name):
                graph = onnx.load(self.export(FAMILIES[name], "int4") / "model.onnx").graph
                kinds = [node.op_type for node in graph.node]
                self.assertEqual((kinds.count("MatMul"), kinds.count("Gemm"), kinds.count("Gather")), (0, 0, 0))
                shapes = [list(tensor.dims) for tensor in graph.initializer]
                self.assertEqual(shapes.count([tiny_families.VOCABULARY, 2, 32]), tables)
                bits = [field.i for node in graph.node for field in node.attribute if field.name == "bits"]
                self.assertEqual((bits.count(8), bits.count(4)), (2, kinds.count("MatMulNBits") - 1))

    def test_codes_are_the_nearest(self) -> None:
        values = np.random.default_rng(1).normal(0, 1, (5, 96)).astype(np.float32)
        values[0, :32] = 0
        values[1, :32] = np.abs(values[1, :32]) + 3
        for bits in (4, 8):
            blocks = rounded(values, bits)
            error = np.abs(multiplied_out(blocks) - values).reshape(5, 3, 32).max(axis=-1)
            # a zero point is rounded as well, which may cost the ends of the range another half step
            np.testing.assert_array_less(error, blocks.scales * (0.5 if bits == 8 else 1) + 1e-6)
            np.testing.assert_array_equal(multiplied_out(blocks)[0, :32], 0)
        with self.assertRaisesRegex(ValueError, "multiple of 32"):
            rounded(np.zeros((2, 48), np.float32), 8)


class Text(Case):
    def facts(self, files: dict[str, Path], **decoder: Any) -> dict[str, Any]:
        """What the recipe tells the manifest."""
        entry = model(FAMILIES["llama"])
        entry = dataclasses.replace(entry, decoder=dataclasses.replace(entry.decoder, **decoder))
        return checkpoint_decoder.export(entry, files, self.folder)

    def rewritten(self, name: str, content: dict[str, Any] | None) -> dict[str, Path]:
        """The files of a checkpoint with one of them changed, or left out."""
        files = self.checkpoint(FAMILIES["llama"])
        if content is None:
            del files[name]
        else:
            held = json.loads(files[name].read_text())
            tiny_families.write_json(files[name], held | content)
        return files

    def test_stop_tokens_come_from_the_generation_configuration_or_else_from_the_models(self) -> None:
        for name, content, expected in (
            ("generation_config.json", {}, [2, 0]),
            ("generation_config.json", {"eos_token_id": 2}, [2]),
            ("generation_config.json", {"eos_token_id": None}, [2]),
            ("generation_config.json", None, [2]),
        ):
            with self.subTest(content=content):
                self.assertEqual(self.facts(self.rewritten(name, content))["stop_token_ids"], expected)

    def test_a_stop_token_that_the_registry_lacks_is_named(self) -> None:
        files = self.checkpoint(FAMILIES["llama"])
        with self.assertRaisesRegex(CheckpointError, r"stops at token 0 \(`<\|endoftext\|>`\).*lack \(<\|im_end\|>\)"):
            self.facts(files, stop_tokens=["<|im_end|>"])
        with self.assertRaisesRegex(CheckpointError, "`<end_of_turn>` of the registry is not in the tokenizer"):
            self.facts(files, stop_tokens=["<|im_end|>", "<end_of_turn>"])
        with self.assertRaisesRegex(CheckpointError, "has an `eos_token_id`"):
            checkpoint_text.stop_token_ids(Checkpoint(self.without_stops()))

    def without_stops(self) -> dict[str, Path]:
        """A checkpoint that never says where to stop."""
        files = self.rewritten("config.json", {"eos_token_id": None})
        del files["generation_config.json"]
        return files

    def test_the_tokens_of_the_template_are_those_of_the_registry(self) -> None:
        files = self.checkpoint(FAMILIES["llama"])
        expected = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
        self.assertEqual(self.facts(files)["template_tokens"], expected)
        with self.assertRaisesRegex(CheckpointError, "bos_token is `<|im_start|>` in the checkpoint and `None`"):
            self.facts(files, bos_token=None)

    def test_a_token_beyond_the_vocabulary_is_named(self) -> None:
        tiny, files = FAMILIES["llama"], self.checkpoint(FAMILIES["llama"])
        size, target = tiny_fixtures.vocabulary.byte_level().get_vocab_size(), self.folder / "tokenizer.json"
        held = json.loads(files["tokenizer.json"].read_text())
        added = held["added_tokens"][0] | {"id": size, "content": "<image_soft_token>"}
        tiny_families.write_json(files["tokenizer.json"], held | {"added_tokens": held["added_tokens"] + [added]})
        source, named = Checkpoint(files), f"token {size} .`<image_soft_token>`.*vocabulary has {size} tokens"
        with self.assertRaisesRegex(CheckpointError, named):
            checkpoint_text.write_tokenizer(source, target, size, ())
        dropped = checkpoint_text.write_tokenizer(source, target, size, ("<image_soft_token>",))
        self.assertIsNone(dropped.token_to_id("<image_soft_token>"))
        config = tiny.config | {"vocab_size": size - 1}
        tiny_families.write_json(files["config.json"], config)
        with self.assertRaisesRegex(CheckpointError, f"vocabulary has {size - 1} tokens"):
            self.export(tiny, files=files)

    def test_the_template_has_a_file_of_its_own_or_is_the_default_of_several(self) -> None:
        named = [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]
        for content, expected in ((named, "D"), ("plain", "plain")):
            files = self.rewritten("tokenizer_config.json", {"chat_template": content})
            self.facts(files)
            self.assertEqual((self.folder / "chat_template.jinja").read_text(), expected)
        files["chat_template.jinja"] = self.folder / "published.jinja"
        files["chat_template.jinja"].write_text("own")
        self.assertEqual(checkpoint_text.chat_template(Checkpoint(files)), "own")
        for content, message in ((named[:1], "tools is named `default`"), (None, "no chat template")):
            files = self.rewritten("tokenizer_config.json", {"chat_template": content})
            with self.subTest(message), self.assertRaisesRegex(CheckpointError, message):
                self.facts(files)

    def test_the_manifest_carries_them(self) -> None:
        tiny = FAMILIES["gemma3"]
        files, models_dir = self.checkpoint(tiny), self.folder / "models"
        entry = model(tiny, artifacts=files)
        # the recording names only what its numbers depend on
        named = {artifact.name: artifact.sha256 for artifact in entry.artifact}
        recording = self.folder / "references" / f"{tiny.key}.json"
        recording.parent.mkdir()
        tiny_families.write_json(recording, reference(tiny.key) | {"artifacts": named})
        self.addCleanup(setattr, references, "COMMITTED", references.COMMITTED)
        references.COMMITTED = recording.parent
        with WheelStore(self.folder / "cache") as wheels:
            pipeline.export(entry, models_dir, self.folder / "cache", wheels)
        content = json.loads((models_dir / tiny.key / manifest.NAME).read_text())
        self.assertEqual(content["stop_token_ids"], [2, 0])
        self.assertEqual(content["template_tokens"]["bos_token"], "<|im_start|>")
        self.assertTrue(pipeline.is_current(entry, models_dir))


class MultipliedOut(CheckpointTensors):
    """Matrices in f32 with the values that their rounded blocks stand for."""

    def pieces(self, name: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        """A vector as it is, a matrix after rounding."""
        values = np.concatenate(list(super().pieces(name, dtype)))
        yield values if values.ndim == 1 else multiplied_out(rounded(values, self.bits(name)))

    def blocks(self, name: str) -> None:
        """Nothing stays in blocks."""


def multiplied_out(blocks: Any) -> np.ndarray:
    """float32 [rows, columns]."""
    differences = blocks.codes.astype(np.float32) - blocks.zero_points[..., None]
    return (blocks.scales[..., None] * differences).reshape(len(blocks.codes), -1)


def with_f32_activations(path: Path) -> None:
    """Let the block products of a graph leave their input as it is."""
    content = onnx.load(path)
    for node in content.graph.node:
        for field in node.attribute:
            if field.name == "accuracy_level":
                field.i = 0
    onnx.save_model(content, path)


if __name__ == "__main__":
    unittest.main()
