"""Which cells there are, what is remembered of them, and what is written of it."""

from __future__ import annotations

import json
import tempfile
import unittest
from pathlib import Path

from gpu import configurations, plan, report
from gpu.card import Card
from gpu.made import Made
from gpu.plan import BUSY, GENERATE, PIPELINE, POQ, SCORE, SENTENCE_TRANSFORMERS, VLLM, Cell, cells
from gpu.store import Store
from gpu.texts import decoder_tokenizer, encoder_tokenizer, make_pairs, make_prompts

CONDITIONS = {"card": "NVIDIA H200", "scale": "full", "new_tokens": 128}
H200 = Card("NVIDIA H200", "580.0", 143771)
LLM = plan.TARGET_LLM


def figures(rate: float, **more: object) -> dict:
    """What a cell's record holds."""
    return {"rate": rate, "rates": [rate], "unit": "tokens/s", "repeats": 3, "tool_version": "tool 1", **more}


class Plan(unittest.TestCase):
    def test_every_model_batch_size_and_tool_is_a_cell(self) -> None:
        found = list(cells((1, 8)))
        self.assertEqual(len({cell.name for cell in found}), len(found))
        # a copy; two sizes of three tools for LLMs and two for evaluators; a watched run each
        self.assertEqual(len(found), 1 + 5 * (2 * 3 + 1) + 3 * (2 * 2 + 1))
        self.assertEqual(found[1].model, LLM)

    def test_patterns_match_a_name_or_a_part_of_it(self) -> None:
        def names(*patterns: str) -> set[str]:
            return {cell.name for cell in cells((1, 8), patterns)}

        self.assertEqual(names("vllm", "copy"), {"copy/card/b0/torch"} | {name for name in names() if name.endswith("vllm")})
        self.assertEqual(names(f"*/{LLM}/b8/poq"), {f"generate/{LLM}/b8/poq", f"busy/{LLM}/b8/poq"})
        self.assertEqual(names("nothing"), set())

    def test_a_cell_has_a_batch_at_least(self) -> None:
        for scale in plan.SCALES.values():
            for size in scale.batch_sizes:
                self.assertGreaterEqual(scale.prompts_of(size), size)
                self.assertGreaterEqual(scale.pairs_of(size), size)


class Case(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = Path(scratch.name) / "cells.jsonl"
        self.cell = Cell(GENERATE, LLM, 8, POQ)

    def store(self, **conditions: object) -> Store:
        """The file, read again."""
        return Store(self.path, CONDITIONS | conditions)


class Remembered(Case):
    def test_what_is_done_is_not_done_again_under_the_same_conditions(self) -> None:
        self.assertFalse(self.store().is_done(self.cell))
        self.store().add(self.cell, **figures(1.0))
        self.assertTrue(self.store().is_done(self.cell))
        self.assertFalse(self.store(card="NVIDIA L4").is_done(self.cell))
        self.assertFalse(self.store(new_tokens=64).is_done(self.cell))

    def test_out_of_memory_stays_and_other_failures_are_tried_again(self) -> None:
        for reason, done in (
            ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True),
            ("poq bench: Failed to allocate memory for requested buffer", True),
            ("no answer within 480 s", True),
            ("there is no `models/runtime-cuda`", False),
        ):
            self.store().add(self.cell, missing=reason)
            self.assertEqual(self.store().is_done(self.cell), done, reason)

    def test_a_line_that_was_cut_off_costs_its_cell_alone(self) -> None:
        other = Cell(GENERATE, LLM, 1, POQ)
        self.store().add(other, **figures(2.0))
        with self.path.open("a", encoding="utf-8") as file:
            file.write('{"cell": "generate/')
        store = self.store()
        self.assertTrue(store.is_done(other))
        store.add(self.cell, **figures(1.0))
        self.assertEqual(set(self.store().records), {other.name, self.cell.name})


class Written(Case):
    def rows(self, store: Store) -> dict[str, dict]:
        """gpu.json by name, and the page as `page`."""
        facts = {"card": H200.name, "poq": "poq 1", "date": "2026-01-01", "command": "just bench-gpu", "scale": "full"}
        folder = self.path.parent
        report.write(store, (1, 256), H200, facts, folder, folder / "page.md")
        self.page = (folder / "page.md").read_text(encoding="utf-8")
        return {row["name"]: row for row in json.loads((folder / "gpu.json").read_text(encoding="utf-8"))}

    def test_targets_and_ratios(self) -> None:
        store = self.store()
        self.assertIn("cells were not tried yet", self.rows(store) and self.page)
        ours = figures(
            300.0,
            latency_ms_p50=400.0,
            decode_tokens_per_s=480.0,
            bytes_per_token=6.5e9,
            first_token_ms_p50=10.0,
            prompts=8,
            prompt_tokens=960,
        )
        store.add(Cell(GENERATE, LLM, 1, POQ), **ours)
        store.add(Cell(GENERATE, LLM, 1, PIPELINE), **figures(40.0, latency_ms_p50=3200.0))
        store.add(Cell(GENERATE, LLM, 256, POQ), **figures(12000.0))
        store.add(Cell(GENERATE, LLM, 256, PIPELINE), missing="CUDA out of memory")
        store.add(Cell(GENERATE, LLM, 256, VLLM), **figures(20000.0))
        store.add(Cell(SCORE, "ce_minilm", 1, POQ), **figures(90.0))
        store.add(Cell(SCORE, "ce_minilm", 256, POQ), **figures(900.0))
        store.add(Cell(SCORE, "ce_minilm", 256, SENTENCE_TRANSFORMERS), **figures(200.0))
        store.add(Cell(BUSY, LLM, 256, POQ), busy_share=0.95, command_busy_share=0.5, command_seconds=30.0)
        rows = self.rows(store)
        reached = {
            name: rows[f"target_{name}"]["ours"] for name in ("latency_of_pipeline", "tokens_vs_pipeline", "tokens_vs_vllm")
        }
        self.assertEqual(reached, {"latency_of_pipeline": 0.125, "tokens_vs_pipeline": 300.0, "tokens_vs_vllm": 0.6})
        self.assertEqual(rows["target_latency_of_pipeline"]["ratio"], 4.0)
        self.assertLess(rows["target_tokens_vs_vllm"]["ratio"], 1)
        self.assertAlmostEqual(rows["target_decode_bandwidth_share"]["ours"], 480 * 6.5 / 4800, places=4)
        self.assertEqual(rows["target_pairs_vs_sentence_transformers_ce_minilm"]["ours"], 4.5)
        self.assertIsNone(rows["target_pairs_vs_sentence_transformers_sts_stsb"]["ratio"])
        self.assertEqual(rows[f"target_busy_generate_{LLM}"]["ours"], 0.95)
        row = rows[f"generate_{LLM}_b1_vs_transformers"]
        self.assertEqual((row["ours"], row["peer"], row["ratio"], row["unit"]), (300.0, 40.0, 7.5, "tokens/s"))
        self.assertEqual((row["card"], row["weights"]), ("NVIDIA H200", "random"))
        lost = rows[f"generate_{LLM}_b256_vs_transformers"]
        self.assertEqual((lost["ours"], lost["ratio"], lost["missing"]), (12000.0, None, {"peer": "CUDA out of memory"}))
        self.assertIn(plan.WEIGHTS, self.page)
        self.assertIn(
            "Prompts have 120 tokens on average. Decoding one row reads 3120 GB/s, 65% of nominal 4800 GB/s.", self.page
        )
        self.assertIn("out of memory", self.page)
        self.assertIn("NVIDIA H200", self.page.splitlines()[0])

    def test_nothing_measured_is_said(self) -> None:
        rows = self.rows(self.store())
        self.assertTrue(rows)
        self.assertTrue(all(row["ours"] is None and row["missing"] for row in rows.values()))


class Inputs(unittest.TestCase):
    def test_texts_are_as_many_as_were_asked_for_and_differ(self) -> None:
        prompts = make_prompts(plan.FULL.busy_prompts, 4)
        self.assertEqual(len(set(prompts.texts)), plan.FULL.busy_prompts)
        self.assertEqual(len({one.question_id for one in prompts.questions}), plan.FULL.busy_prompts)
        self.assertEqual(make_prompts(8, 4).texts, prompts.texts[:8])
        self.assertEqual(len(make_pairs(100)), 100)

    def test_tokenizers_know_the_words_and_fill_the_vocabulary(self) -> None:
        tokenizer = decoder_tokenizer(32000)
        ids = tokenizer.encode(make_prompts(1, 4).texts[0], add_special_tokens=False).ids
        self.assertEqual((tokenizer.get_vocab_size(), ids.count(0)), (32000, 0))
        self.assertGreater(len(ids), 100)
        for kind, tokens in (
            ("bert", ["[CLS]", "the", "[SEP]", "sea", "[SEP]"]),
            ("roberta", ["<s>", "the", "</s>", "</s>", "sea", "</s>"]),
        ):
            made = encoder_tokenizer(kind, 30522)
            self.assertEqual(made.encode("The", "sea").tokens, tokens)
            self.assertEqual(made.get_vocab_size(), 30522)
        self.assertEqual(encoder_tokenizer("roberta", 30522).token_to_id("<pad>"), 1)

    def test_models_for_a_card_lie_where_poq_looks_for_them(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            runtime = Path(scratch) / "runtime-cuda"
            runtime.mkdir()
            made = Made(Path(scratch) / "made", "cuda", True, runtime)
            checkpoints = {key: made.prepare(plan.SUBJECTS[key]) for key in (LLM, "sts_stsb")}
            manifests = {name: made.models / name / "manifest.json" for name in (f"{LLM}-bf16", "sts_stsb")}
            listed = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in manifests.items()}
            self.assertEqual(listed[f"{LLM}-bf16"]["key"], LLM)
            self.assertIn("model.onnx.data", listed[f"{LLM}-bf16"]["files"])
            self.assertIn("model.f16.onnx", listed["sts_stsb"]["files"])
            self.assertTrue((made.models / "runtime-cuda").is_dir())
            registry = (made.models / "registry.toml").read_text(encoding="utf-8")
            self.assertEqual(registry.count('cuda_precision = "bf16"'), 5)
            self.assertEqual(registry.count('"model.f16.onnx"'), 3)
            before = [path.stat().st_mtime_ns for path in manifests.values()]
            self.assertEqual({key: made.prepare(plan.SUBJECTS[key]) for key in checkpoints}, checkpoints)
            self.assertEqual([path.stat().st_mtime_ns for path in manifests.values()], before)

    def test_bytes_of_a_decode_step(self) -> None:
        config = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2}
        config |= {"num_hidden_layers": 3, "vocab_size": 100}
        layer = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16
        self.assertEqual(configurations.read_bytes_per_token(config, "bf16", 10), 2 * (3 * layer + 800 + 3 * 2 * 4 * 10))


if __name__ == "__main__":
    unittest.main()
