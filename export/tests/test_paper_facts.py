"""The paper pool: every fact of the registry that a published configuration states is the one it states."""

from __future__ import annotations

import math
import re
import unittest
from pathlib import Path
from typing import Any

import published
from poq_export import checkpoint_encoder, registry
from poq_export.checkpoint import INDEX, WEIGHTS
from poq_export.families import describe
from poq_export.registry import Artifact, HubSource, Model

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = {model.key: model for model in registry.load(REPOSITORY / "models" / "registry.toml").select("paper", [])}
DECODERS = {key: model for key, model in MODELS.items() if model.architecture == "decoder"}
ENCODERS = {key: model for key, model in MODELS.items() if model.architecture != "decoder"}

# Files of which only the facts are committed: the rest of a tokenizer's configuration is its template.
EXTRACTS = ("tokenizer_config.json",)
# Strings of the ids that the generation configurations name; where each was seen, SOURCES.md says.
STOPS = {
    "tinyllama_1_1b": {2: "</s>"},
    "qwen2_1_5b": {151643: "<|endoftext|>", 151645: "<|im_end|>"},
    "gemma_2_2b_it": {1: "<eos>", 107: "<end_of_turn>"},
    "phi3_mini_4k": {32000: "<|endoftext|>", 32001: "<|assistant|>", 32007: "<|end|>"},
    "llama_3_2_3b": {128001: "<|end_of_text|>", 128008: "<|eom_id|>", 128009: "<|eot_id|>"},
}
HEADER_BYTES = 100_000  # the table of contents of a weight file is shorter
STORED_BYTES = {"bfloat16": 2, "float32": 4}
INDEX_TOTALS = {"gemma_2_2b_it": 5_228_683_776}  # `total_size` of the index, where it was seen


def artifact(model: Model, name: str) -> Artifact | None:
    """What the registry says of a published file."""
    return next((artifact for artifact in model.artifact if artifact.name == name), None)


def weights(model: Model) -> list[Artifact]:
    """Files with weights."""
    return [artifact for artifact in model.artifact if artifact.name.endswith(".safetensors")]


class Pool(unittest.TestCase):
    def test_it_is_the_five_models_of_table_2_and_the_three_of_table_3(self) -> None:
        self.assertEqual(list(DECODERS), list(STOPS))
        batches = {key: model.scoring.batch_size for key, model in ENCODERS.items()}
        self.assertEqual(batches, {"ce_minilm": 32, "ce_deberta": 32, "sts_stsb": 64})

    def test_every_file_comes_from_one_commit_of_the_upstream_repository(self) -> None:
        for key, model in MODELS.items():
            sources = [source for artifact in model.artifact for source in artifact.source]
            self.assertTrue(all(isinstance(source, HubSource) for source in sources), key)
            self.assertEqual({source.repo for source in sources}, {model.upstream}, key)
            self.assertEqual(len({source.revision for source in sources}), 1, key)
            self.assertRegex(sources[0].revision, r"^[0-9a-f]{40}$", key)
            self.assertEqual([source.file for source in sources], [artifact.name for artifact in model.artifact], key)

    def test_hashes_have_the_form_of_hashes(self) -> None:
        for key, model in MODELS.items():
            for each in model.artifact:
                self.assertTrue(each.sha256 is None or re.fullmatch("[0-9a-f]{64}", each.sha256), f"{key} {each.name}")

    def test_what_has_to_be_accepted_at_the_hub_is_marked(self) -> None:
        gated = {key for key, model in MODELS.items() if model.gated}
        self.assertEqual(gated, {"gemma_2_2b_it", "llama_3_2_3b"})
        self.assertTrue(all(MODELS[key].licence.startswith("LicenseRef-") for key in gated))

    def test_shards_are_complete_and_have_an_index(self) -> None:
        for key, model in MODELS.items():
            names = [each.name for each in weights(model)]
            count = len(names)
            whole = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
            self.assertEqual(names, [WEIGHTS] if count == 1 else whole, key)
            self.assertEqual(artifact(model, INDEX) is not None, count > 1, key)


class Files(unittest.TestCase):
    def committed(self) -> list[tuple[str, str]]:
        """Key and published name of every committed file but the extracts."""
        paths = sorted(published.PUBLISHED.glob("*/**/*.json"))
        found = [path.relative_to(published.PUBLISHED).parts for path in paths]
        return [(key, "/".join(name)) for key, *name in found if name[-1] not in EXTRACTS]

    def test_a_committed_configuration_is_the_one_that_will_be_fetched(self) -> None:
        self.assertEqual({key for key, _ in self.committed()}, set(MODELS))
        for key, name in self.committed():
            with self.subTest(f"{key}/{name}"):
                wanted = artifact(MODELS[key], name)
                self.assertIsNotNone(wanted)
                texts = published.versions(published.content(key, name))
                if wanted.bytes is not None:
                    self.assertIn(wanted.bytes, [len(text) for text in texts])
                if wanted.sha256 is not None:
                    self.assertIn(wanted.sha256, [published.sha256(text) for text in texts])

    def test_every_model_has_the_configurations_that_its_facts_come_from(self) -> None:
        for key in DECODERS:
            for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
                self.assertTrue(published.content(key, name), f"{key}/{name}")
                self.assertIsNotNone(artifact(MODELS[key], name), f"{key}/{name}")


class Decoders(unittest.TestCase):
    def test_the_context_is_the_configurations(self) -> None:
        for key, model in DECODERS.items():
            self.assertEqual(model.max_length, published.document(key)["max_position_embeddings"], key)
            limit = published.document(key, "tokenizer_config.json").get("model_max_length", model.max_length)
            self.assertEqual(model.max_length, limit, key)

    def test_the_stop_tokens_are_the_generation_configurations_in_its_order(self) -> None:
        for key, model in DECODERS.items():
            self.assertEqual(model.decoder.stop_tokens, [STOPS[key][number] for number in published.stop_ids(key)], key)
            own = published.document(key)["eos_token_id"]
            own = own if isinstance(own, list) else [own]
            self.assertLessEqual(set(own), set(published.stop_ids(key)), key)

    def test_the_templates_tokens_are_the_tokenizers(self) -> None:
        for key, model in DECODERS.items():
            tokenizer = published.document(key, "tokenizer_config.json")
            self.assertEqual((model.decoder.bos_token, model.decoder.eos_token),
                             (tokenizer["bos_token"], tokenizer["eos_token"]), key)  # fmt: skip

    def test_the_recipe_understands_the_configuration_and_counts_the_same_parameters(self) -> None:
        for key, model in DECODERS.items():
            with self.subTest(key):
                described = describe(published.document(key), model.max_length)
                self.assertEqual(sum(math.prod(place.shape) for place in described.places.values()), model.parameters)
                architecture = described.architecture
                self.assertEqual(architecture.heads % architecture.kv_heads, 0)

    def test_weights_are_exported_for_cuda_in_the_precision_they_were_published_in(self) -> None:
        for key, model in DECODERS.items():
            self.assertEqual(published.document(key)["torch_dtype"], "bfloat16", key)
            self.assertEqual(model.export.cuda_precision, "bf16", key)

    def test_graphs_larger_than_2_gb_have_their_data_outside(self) -> None:
        for key, model in DECODERS.items():
            self.assertEqual(model.parameters * 4 > 2**31, "model.onnx.data" in model.files, key)


class Encoders(unittest.TestCase):
    def test_labels_stand_in_the_order_of_their_columns(self) -> None:
        named = {int(column): label for column, label in published.document("ce_deberta")["id2label"].items()}
        scoring = MODELS["ce_deberta"].scoring
        self.assertEqual(scoring.labels, [named[column] for column in range(len(named))])
        self.assertEqual((scoring.head, scoring.target), ("probability", "entailment"))

    def test_one_logit_is_taken_as_it_is_where_the_configuration_says_so(self) -> None:
        config = published.document("ce_minilm")
        self.assertEqual(len(config["id2label"]), 1)
        self.assertTrue(config["sbert_ce_default_activation_function"].endswith(".Identity"))
        self.assertEqual((MODELS["ce_minilm"].scoring.head, MODELS["ce_minilm"].scoring.labels), ("logit", None))

    def test_pooling_is_the_one_that_the_modules_name(self) -> None:
        kinds = [module["type"].rsplit(".", 1)[-1] for module in published.document("sts_stsb", "modules.json")]
        self.assertEqual(kinds, ["Transformer", "Pooling"])
        pooling = published.document("sts_stsb", "1_Pooling/config.json")
        on = [name for name, value in pooling.items() if name.startswith("pooling_mode") and value]
        self.assertEqual((on, MODELS["sts_stsb"].scoring.pooling), (["pooling_mode_mean_tokens"], "mean"))
        self.assertEqual(pooling["word_embedding_dimension"], published.document("sts_stsb")["hidden_size"])

    def test_texts_are_cut_where_the_reference_cuts_them(self) -> None:
        for key in ("ce_minilm", "ce_deberta"):
            self.assertEqual(MODELS[key].max_length, published.document(key)["max_position_embeddings"], key)
        config, limits = published.document("sts_stsb"), published.document("sts_stsb", "sentence_bert_config.json")
        self.assertEqual(MODELS["sts_stsb"].max_length, limits["max_seq_length"])
        self.assertLessEqual(limits["max_seq_length"], config["max_position_embeddings"] - config["pad_token_id"] - 1)

    def test_the_recipe_understands_the_configuration_and_counts_the_same_parameters(self) -> None:
        for key, model in ENCODERS.items():
            with self.subTest(key):
                described, _ = checkpoint_encoder.read(model, lambda name: self.document(key, name), set())
                found = sum(math.prod(place.shape) for place in described.places.values())
                unused = published.document(key)["hidden_size"] * (published.document(key)["hidden_size"] + 1)  # the pooler
                self.assertEqual(found + (0 if described.classify else unused), model.parameters)

    def document(self, key: str, name: str) -> Any:
        """A committed file, where there is one."""
        return published.document(key, name) if (published.PUBLISHED / key / name).exists() else None

    def test_the_parameters_are_those_of_the_configuration(self) -> None:
        for key, labels in (("ce_minilm", 1), ("ce_deberta", 3), ("sts_stsb", 0)):
            found = published.encoder_parameters(published.document(key), pooler=True, labels=labels)
            self.assertEqual(found, MODELS[key].parameters, key)


class Sizes(unittest.TestCase):
    def test_the_weight_files_are_the_parameters_and_a_short_header(self) -> None:
        known = {key: model for key, model in MODELS.items() if all(each.bytes for each in weights(model))}
        self.assertEqual(set(MODELS) - set(known), {"sts_stsb"})
        for key, model in known.items():
            with self.subTest(key):
                stored = STORED_BYTES[published.document(key).get("torch_dtype", "float32")]
                rest = sum(each.bytes for each in weights(model)) - stored * model.parameters
                self.assertGreater(rest, 0)
                self.assertLess(rest, HEADER_BYTES)
                self.assertEqual(INDEX_TOTALS.get(key, stored * model.parameters), stored * model.parameters)


if __name__ == "__main__":
    unittest.main()
