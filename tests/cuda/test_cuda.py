"""The CUDA provider without a card: everything that poq and ONNX Runtime do on the host, on tiny models of the eight
architectures of the paper, in the precisions that a card would be given. Kernels compute nothing (see `cudart.c`), so what
is tested is that models load with every operator on the card, that rows come and go, that memory which runs out is survived,
and which kernels would have computed.

Run by `just test-cuda`, which builds the poq that POQ_BIN names and brings ONNX Runtime with CUDA.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import card
from gpu.configurations import TINY
from gpu.made import Made
from gpu.ours import Poq
from gpu.plan import GENERATE, SUBJECTS
from gpu.texts import make_prompts
from process import Unavailable
from prompts import DATA_SET

REPOSITORY = Path(__file__).resolve().parents[2]
POQ = os.environ.get("POQ_BIN")
RUNTIME = REPOSITORY / "models/runtime-cuda"
LLMS = [subject for subject in SUBJECTS.values() if subject.stage == GENERATE]
EVALUATORS = [subject for subject in SUBJECTS.values() if subject.stage != GENERATE]
LLAMA, MINILM = "llama_3_2_3b", "ce_minilm"
LAYERS, FLOAT = TINY["num_hidden_layers"], 4
PROMPTS, NEW_TOKENS, MOST_ALLOCATIONS = 24, 16, 400
RAN_OUT = "memory ran out, and the budget of the KV cache was halved"


@dataclass(frozen=True)
class Ran:
    """A command of poq on a card."""

    code: int
    said: str
    counts: card.Counts


@unittest.skipUnless(POQ, "NOT RUN: no poq is named in POQ_BIN; `just test-cuda` builds one and names it")
class OnAPretendedCard(unittest.TestCase):
    """Models are made once; every test has runs and reports of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.scratch = Path(folder.name)
        cls.libraries = card.build(cls.scratch / "libraries")
        cls.made = Made(cls.scratch / "made", "cuda", True, RUNTIME)
        for subject in SUBJECTS.values():
            cls.made.prepare(subject)

    def setUp(self) -> None:
        self.place = self.scratch / self.id()
        self.prepared, self.run_folder = self.place / "prepared", self.place / "run"

    def card(self, megabytes: int = 1024, **settings: int) -> card.Card:
        """Memory in MiB, and what else `cudart.c` reads."""
        return card.Card(self.libraries, self.place / "reports", megabytes, **settings)

    def bench_side(self, on: card.Card) -> Poq:
        """poq as `just bench-gpu` runs it."""
        poq = Poq(Path(POQ).resolve(), self.made, self.place / "bench", 300)
        poq.environment = on.environment
        return poq

    def poq(self, on: card.Card, *arguments: str | Path) -> Ran:
        """Run a command."""
        command = [Path(POQ).resolve(), "--models", self.made.models, "--results", self.place / "results", *arguments]
        done = subprocess.run(command, env=on.environment, capture_output=True, text=True)
        return Ran(done.returncode, done.stderr, on.counts())

    def prepare(self, key: str = LLAMA, **generation: Any) -> None:
        """A run whose tasks are prompts of the benchmark, to be answered by a model and scored by all evaluators."""
        shutil.rmtree(self.prepared, ignore_errors=True)
        settings = {"models": [key], "temperature": 0, "batch_size": PROMPTS, "batch_tokens": 1024, "provider": "cuda"}
        settings |= {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS} | generation
        lines = ['name = "card"', "[data]", f"sets = [{{ dataset = {json.dumps(DATA_SET)} }}]", "[generation]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        evaluators = [subject.key for subject in EVALUATORS]
        lines += ["[scoring]", f"evaluators = {json.dumps(evaluators)}", 'provider = "cuda"', 'precision = "f16"']
        self.place.mkdir(parents=True, exist_ok=True)
        self.experiment = self.place / "card.toml"
        self.experiment.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.data_sets = make_prompts(PROMPTS, NEW_TOKENS).write_data_set(self.place / "data_sets")
        arguments = ["--experiment", self.experiment, "--datasets", self.data_sets]
        ran = self.poq(self.card(), "tasks", self.prepared, *arguments)
        self.assertEqual(ran.code, 0, ran.said)

    def fresh(self) -> Path:
        """A copy of the run as it was prepared."""
        shutil.rmtree(self.run_folder, ignore_errors=True)
        return shutil.copytree(self.prepared, self.run_folder)

    def rows(self, stage: str) -> tuple[int, int]:
        """Rows of a stage, and how many of them failed."""
        record = json.loads((self.run_folder / "run.json").read_text(encoding="utf-8"))["stages"][stage]
        return record["rows"], record["failed"]

    def fail_each_allocation(self, stage: str, key: str, *arguments: str) -> tuple[int, int]:
        """Every allocation of a stage fails once: while the model is loaded that is the end, with the reason; later it is survived.
        Returns how many were which."""
        whole = self.poq(self.card(), stage, self.fresh(), *arguments)
        self.assertEqual(whole.code, 0, whole.said)
        rows, ends, survived = self.rows(stage), 0, 0
        self.assertEqual(rows[1], 0, whole.said)
        for number in range(1, MOST_ALLOCATIONS):
            ran = self.poq(self.card(fail_at=number), stage, self.fresh(), *arguments)
            with self.subTest(allocation=number):
                if ran.code == 0:
                    self.assertEqual(self.rows(stage), rows, ran.said)
                    survived += ran.counts.refused
                else:
                    self.assertEqual(ran.code, 2, ran.said)
                    self.assertRegex(ran.said, f"error: .*`{key}`: no memory is left for .*(Failed to allocate|out of memory)")
                    ends += 1
            if ran.counts.refused == 0 and ran.code == 0:
                return ends, survived
        self.fail("there is no end of allocations")

    def check(self, counts: card.Counts) -> None:
        """What holds whatever was done."""
        self.assertGreater(counts.launches, 0)
        self.assertEqual(counts.hazards, 0, "work on two streams that nobody kept in order")


class Llms(OnAPretendedCard):
    def test_every_architecture_answers_with_flash_attention(self) -> None:
        for subject in LLMS:
            for batch_size in (1, 8):
                with self.subTest(subject.key, batch_size=batch_size):
                    on = self.card()
                    prompts = make_prompts(PROMPTS, NEW_TOKENS)
                    row = self.bench_side(on).generate(subject, prompts, batch_size, 1)
                    self.assertEqual(row["tokens"], PROMPTS * NEW_TOKENS)
                    counts = on.counts()
                    self.check(counts)
                    # A pass brings its logits to the host, and nothing else.
                    attention = counts.launched("flash_fwd") - counts.launched("combine")
                    self.assertEqual(attention, LAYERS * counts.downloads)

    def test_a_card_too_small_for_the_budget_answers_every_row(self) -> None:
        self.prepare(kv_cache_mb=100)
        for megabytes in (3, 5):
            with self.subTest(megabytes):
                ran = self.poq(self.card(megabytes), "generate", self.fresh())
                self.assertEqual(ran.code, 0, ran.said)
                self.assertIn(RAN_OUT, ran.said)
                self.assertGreater(ran.counts.refused, 0)
                self.assertEqual(self.rows("generate"), (PROMPTS, 0))
                self.check(ran.counts)

    def test_memory_that_runs_out_anywhere_loses_no_row(self) -> None:
        self.prepare()
        ends, survived = self.fail_each_allocation("generate", LLAMA)
        self.assertGreater(min(ends, survived), 20)

    def test_steps_are_replayed_as_graphs_where_that_is_asked_for(self) -> None:
        for subject in LLMS:
            with self.subTest(subject.key):
                self.prepare(subject.key, batch_size=8)
                plain = self.poq(self.card(), "generate", self.fresh())
                ran = self.poq(self.card(), "generate", self.fresh(), "--cuda-graphs")
                self.assertEqual((plain.code, ran.code), (0, 0), ran.said)
                self.assertEqual(self.rows("generate"), (PROMPTS, 0))
                graphs = self.graphs(subject.key)
                self.assertIsNone(graphs["given_up"])
                self.assertGreater(graphs["captured"], 0)
                # The first two launches of a graph are compared with the step itself; slots may end between them.
                compared = ran.counts.graphs - graphs["replayed"]
                self.assertIn(compared - 2 * graphs["captured"], (0, 1, 2))
                self.assertLess(1.5 * ran.counts.launches, plain.counts.launches)
                self.check(ran.counts)

    def test_a_graph_that_cannot_be_captured_or_is_another_is_not_used(self) -> None:
        self.prepare(batch_size=8)
        other = "gave other logits"
        cases = [({"capture": 0}, "could not be captured"), ({"replays": 1}, other), ({"replays": 1, "replays_from": 2}, other)]
        for settings, why in cases:
            with self.subTest(settings):
                ran = self.poq(self.card(**settings), "generate", self.fresh(), "--cuda-graphs")
                self.assertEqual(ran.code, 0, ran.said)
                self.assertEqual(self.rows("generate"), (PROMPTS, 0))
                graphs = self.graphs(LLAMA)
                self.assertIn(why, graphs["given_up"])
                self.assertEqual((graphs["captured"], graphs["replayed"]), (0, 0))
                self.check(ran.counts)

    def test_the_benchmark_measures_graphs_or_nothing(self) -> None:
        for capture in (1, 0):
            on = self.card(capture=capture)
            bench = self.bench_side(on)
            bench.cuda_graphs = True
            arguments = (SUBJECTS[LLAMA], make_prompts(PROMPTS, NEW_TOKENS), 8, 1)
            if capture:
                self.assertEqual(bench.generate(*arguments)["tokens"], PROMPTS * NEW_TOKENS)
                self.assertGreater(on.counts().graphs, 0)
            else:
                with self.assertRaisesRegex(Unavailable, "CUDA graphs were given up"):
                    bench.generate(*arguments)

    def graphs(self, key: str) -> dict[str, Any]:
        """What run.json says of them."""
        record = json.loads((self.run_folder / "run.json").read_text(encoding="utf-8"))
        return record["stages"]["generate"]["details"]["models"][key]["cuda_graphs"]

    def test_a_card_with_little_free_memory_is_planned_for(self) -> None:
        """16,384 tokens of a pass are estimated to need more than the card has."""
        self.prepare(batch_tokens=16384)
        ran = self.poq(self.card(64), "generate", self.fresh())
        self.assertEqual(ran.code, 0, ran.said)
        self.assertEqual(self.rows("generate"), (PROMPTS, 0))

class Evaluators(OnAPretendedCard):
    def setUp(self) -> None:
        super().setUp()
        self.prepare()
        ran = self.poq(self.card(), "generate", self.fresh())
        self.assertEqual(ran.code, 0, ran.said)
        shutil.rmtree(self.prepared)
        self.run_folder.rename(self.prepared)

    def score(self, on: card.Card, *arguments: str) -> Ran:
        """A fresh copy of the answers, scored."""
        return self.poq(on, "score", self.fresh(), *arguments)

    def test_every_architecture_scores_on_the_card_with_fused_attention(self) -> None:
        ran = self.score(self.card())
        self.assertEqual(ran.code, 0, ran.said)
        rows, failed = self.rows("score")
        self.assertEqual(failed, 0, ran.said)
        self.assertGreaterEqual(rows, PROMPTS * len(EVALUATORS))
        self.check(ran.counts)
        self.assertGreater(ran.counts.launched("attention_kernel_batched_impl"), 0)
        self.assertEqual(ran.counts.launched("SoftmaxWithRawMask"), 0)
        # A vector or logits per text, and no vectors of tokens.
        self.assertLess(ran.counts.downloaded, 2 * rows * TINY["hidden_size"] * FLOAT)
        for subject in EVALUATORS:
            self.assertIn(f"{subject.key}: cuda f16", ran.said)
        record = json.loads((self.run_folder / "run.json").read_text(encoding="utf-8"))
        self.assertEqual(record["machine"]["gpu"], "a card that is not there")

    def test_memory_that_runs_out_anywhere_loses_no_score(self) -> None:
        ends, survived = self.fail_each_allocation("score", MINILM, "--evaluator", MINILM, "--workers", "1")
        self.assertGreater(min(ends, survived), 5)

    def test_without_cudnn_nothing_is_scored_and_the_error_names_it(self) -> None:
        """A whole experiment ends before its models have answered."""
        libraries = self.place / "libraries"
        shutil.copytree(self.libraries, libraries)
        (libraries / "libcudnn.so.9").unlink()
        on = card.Card(libraries, self.place / "reports")
        whole = ("run", self.experiment, "--run", "whole", "--datasets", self.data_sets)
        for ran in (self.score(on), self.poq(on, *whole)):
            self.assertEqual(ran.code, 2, ran.said)
            self.assertRegex(ran.said, "error: .*: cuDNN cannot be loaded.*libcudnn.so.9")
            self.assertIn("hint: ", ran.said)
        self.assertEqual(list((self.place / "results/whole").rglob("generations/*")), [])

    def test_without_a_card_the_error_says_so(self) -> None:
        ran = self.score(self.card(count=0))
        self.assertEqual(ran.code, 2, ran.said)
        self.assertRegex(ran.said, "error: (.|\n)*no CUDA-capable device")
        self.assertIn("hint: ", ran.said)

    def test_every_node_is_profiled_on_the_card(self) -> None:
        ran = self.poq(self.card(), "profile", self.fresh())
        self.assertEqual(ran.code, 0, ran.said)
        self.assertEqual(self.rows("profile"), (1 + len(EVALUATORS), 0))
        self.check(ran.counts)


if __name__ == "__main__":
    unittest.main()
