"""What `just reproduce paper` does, from an empty cache to the report, on tiny checkpoints of a hub on this machine.

Run by `just test-paper`, which builds the poq that POQ_BIN names. The parity gates compare with the committed recordings
of the tiny checkpoints, laid where an earlier export leaves its own. With POQ_TEST_RECORDS=1, in an environment with
torch, the export records every reference itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import paper_case
from hub_case import OWN, HubCase, Ran
from paper_case import ENCODERS, FAMILIES, REPOSITORY, SAMPLE

POQ = os.environ.get("POQ_BIN")
RUNTIME = REPOSITORY / "models/runtime"
RECORDS = os.environ.get("POQ_TEST_RECORDS") == "1"
GATED = ("google/gemma-2-2b-it", "meta-llama/Llama-3.2-3B-Instruct")
MODELS = [*FAMILIES, *ENCODERS]
REVERSED = "ce_deberta_reversed"
TABLES = ["tasks", "profile", "rewards", "network", "rounds", "metrics"]
TABLES += [f"generations/{key}" for key in FAMILIES]
TABLES += [f"scores/{key}" for key in ("f1", "exact_match", *ENCODERS, REVERSED)]


@unittest.skipUnless(POQ, "NOT RUN: no poq is named in POQ_BIN; `just test-paper` builds one and names it")
class PaperExperiment(HubCase):
    def setUp(self) -> None:
        super().setUp()
        self.assertTrue((RUNTIME / "libonnxruntime.so").exists(), "`just runtime` brings ONNX Runtime")
        for provider in ("runtime", "runtime-cuda"):
            shutil.rmtree(self.models / provider)
        (self.models / "runtime").symlink_to(RUNTIME)
        self.published = paper_case.publish(self.hub, self.scratch)
        self.entries = paper_case.rewritten_registry(self.published)
        (self.models / "registry.toml").write_text(self.entries, encoding="utf-8")
        (self.sets / "registry.toml").write_text(paper_case.publish_datasets(self.hub, self.scratch), encoding="utf-8")
        self.experiment = self.scratch / "paper.toml"
        self.experiment.write_text(paper_case.rewritten_experiment(), encoding="utf-8")
        self.run_folder = self.scratch / "results/paper"

    def bring(self, *arguments: str, token: bool = True) -> Ran:
        """The export's part of `just reproduce paper`."""
        return self.run_export("--experiment", str(self.experiment), *arguments, token=token)

    def poq(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, what it printed and what it said."""
        places = {"models": self.models, "datasets": self.sets, "results": self.scratch / "results"}
        flags = [text for name, path in places.items() for text in (f"--{name}", str(path))]
        done = subprocess.run(
            [Path(POQ).absolute(), *arguments, *flags], env=OWN, capture_output=True, text=True, cwd=self.scratch
        )
        return done.returncode, done.stdout, done.stderr

    def tables(self) -> dict[str, int]:
        """Every table of the run, and when it was written."""
        return {
            str(path.relative_to(self.run_folder)): path.stat().st_mtime_ns for path in self.run_folder.rglob("*.parquet")
        }

    def test_from_an_empty_cache_to_the_report_and_once_more(self) -> None:
        self.preflight()
        self.fetch_and_export()
        self.list_models()
        self.refuse_without_a_card()
        self.run_experiment()
        self.once_more()

    def preflight(self) -> None:
        """Without a token one listing names what is gated; with it nothing is missing. Nothing is fetched."""
        ran = self.bring("--preflight", "--torch-comes", token=False)
        self.assertEqual(ran.code, 1)
        self.assertIn("8 models to export, 2 data sets to fetch", ran.said)
        self.assertIn("no token of the hub: set HF_TOKEN", ran.said)
        for repo in GATED:
            self.assertIn(f"`{repo}` is gated: accept its licence at https://huggingface.co/{repo}", ran.said)
        self.assertIn("preflight: 3 missing", ran.said)
        self.assertEqual(self.bring("--environment").said, "reference\n")
        if not RECORDS:
            paper_case.lay_references(self.models)
            self.assertEqual(self.bring("--environment").said, "export\n")
        ran = self.bring("--preflight")
        self.assertEqual(ran.code, 0, ran.said)
        self.assertIn("preflight: nothing is missing", ran.said)
        self.assertEqual([request for request in self.hub.asked if request[0] == "GET"], [])

    def fetch_and_export(self) -> None:
        """Every model passes its gate against transformers; both data sets are where poq reads them."""
        ran = self.bring()
        self.assertEqual(ran.code, 0, ran.said)
        self.assertEqual("recorded what the reference answers" in ran.said, RECORDS)
        for key in MODELS:
            manifest = json.loads((self.models / key / "manifest.json").read_text())
            self.assertTrue(manifest["gate"]["passed"])
            self.assertRegex(manifest["gate"]["reference"], "transformers .*float32")
            self.assertGreater(manifest["gate"]["inputs"], 5)
        self.assertEqual(len(list((self.sets / "fetched").rglob("*.parquet"))), 2)

    def list_models(self) -> None:
        """All eight are ready, and the gated ones are still called so."""
        code, out, said = self.poq("models", "list", "--pool", "paper")
        self.assertEqual(code, 0, said)
        for key in MODELS:
            self.assertRegex(out, f"(?m)^{key} +ready ")
        for repo in GATED:
            self.assertIn(f"accept its licence at https://huggingface.co/{repo}", out)

    def refuse_without_a_card(self) -> None:
        """The experiment as it is committed computes on a GPU: without one, it ends before anything is computed."""
        asked = self.scratch / "cuda.toml"
        asked.write_text(self.experiment.read_text().replace('provider = "cpu"', 'provider = "cuda"'))
        code, _, said = self.poq("run", str(asked), "--run", "cuda")
        self.assertEqual(code, 2)
        self.assertRegex(said, "error: model `tinyllama_1_1b` is not exported for the provider `cuda`: .*\nhint: `just models paper --provider cuda` ")
        self.assertEqual(list((self.scratch / "results/cuda").rglob("generations/*.parquet")), [])

    def run_experiment(self) -> None:
        """Every stage, every table, every node; F1 and five figures more for each answer."""
        code, out, said = self.poq("run", str(self.experiment), "--format", "json")
        self.assertEqual(code, 0, said)
        self.assertIn("judge: left out, for there is no key in `OPENAI_API_KEY`", said)
        report = json.loads(out)
        answers = 2 * SAMPLE * len(FAMILIES)
        self.assertEqual([of_type["tasks"] for of_type in report["counts"]["tasks_by_type"]], [SAMPLE, SAMPLE])
        self.assertEqual(report["counts"]["answers"], answers)
        # an evaluator has nothing to judge where a tiny model stops at once, and poq says how often that was
        empty = int(found[1]) if (found := re.search(r"(\d+) answers are empty", said)) else 0
        evaluators = [*ENCODERS, REVERSED]
        self.assertEqual(report["counts"]["tables"], [
            {"table": "generations", "rows": answers, "failed": 0},
            {"table": "scores", "rows": answers * (2 + len(evaluators)), "failed": empty * len(evaluators)},
        ])  # fmt: skip
        self.assertLess(empty, answers / 4)
        paid = [(reward["node_type"], reward["node"], reward["replicates"]) for reward in report["rewards"]]
        replicates = paper_case.EXPERIMENT["replicates"]
        expected = [("inference", key, replicates) for key in FAMILIES] + [
            ("evaluator", key, replicates) for key in ENCODERS
        ]
        self.assertEqual(paid, expected)
        for reward in report["rewards"]:
            self.assertGreater(reward["avg_latency_ms"], 0)
            self.assertGreater(reward["jobs"], 0)
            self.assertLess(abs(reward["z"]), 6)  # what is simulated is what the closed form says
        audits = {audit["evaluator"]: audit for audit in report["evaluator_audit"]}
        self.assertEqual(
            {key: audit["paid"] for key, audit in audits.items()}, dict.fromkeys(ENCODERS, True) | {REVERSED: False}
        )
        for audit in audits.values():
            self.assertEqual(audit["scored"], answers - empty)
            self.assertGreater(audit["distinct_share"], 0.9)
        self.assertEqual(set(self.tables()), {f"{table}.parquet" for table in TABLES})
        for name in ("report.html", "report.md", "run.json"):
            self.assertIn("phi3_mini_4k", (self.run_folder / name).read_text(encoding="utf-8"))

    def once_more(self) -> None:
        """Nothing is asked of the hub, exported or computed again."""
        asked, tables = len(self.hub.asked), self.tables()
        self.assertEqual(self.bring("--environment").said, "export\n")
        ran = self.bring(token=False)
        self.assertEqual(ran.code, 0, ran.said)
        self.assertIn("0 to export", ran.said)
        self.assertNotIn("fetched", ran.said)
        self.assertEqual(len(self.hub.asked), asked)
        code, _, said = self.poq("run", str(self.experiment))
        self.assertEqual(code, 0, said)
        for stage in ("tasks", "generate", "score", "profile", "simulate", "report"):
            self.assertRegex(said, f"(?m)^{stage}: .*nothing to do")
        self.assertEqual(self.tables(), tables)


if __name__ == "__main__":
    unittest.main()
