"""The preflight: all that is missing in one go, and what it says when nothing is."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import onnxruntime
from hub_case import OWN, HubCase
from poq_export import cuda_trial, footprint, machine, preflight, providers, registry
from poq_export.plan import Plan
from poq_export.registry import Artifact, Export, Model, PathSource

REPOSITORY = Path(__file__).resolve().parents[2]
HUGE = 10**14  # parameters that no machine holds


class Preflight(HubCase):
    def card(self, answer: str) -> dict[str, str]:
        """An nvidia-smi that answers this."""
        script = self.scratch / "bin/nvidia-smi"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\necho '{answer}'\n")
        script.chmod(0o755)
        return {"PATH": f"{script.parent}:{OWN['PATH']}"}

    def test_all_that_is_missing_is_listed_and_nothing_is_fetched(self) -> None:
        self.checkpoint("gemma2", gated=True, parameters=HUGE)
        commit = self.checkpoint("llama")
        self.list_file("tiny/llama", commit, "merges.txt")
        self.entries = self.entries.replace('key = "tiny_llama"', 'key = "unrecorded"')
        self.checkpoint("qwen2")
        self.entries = self.entries.replace(self.hub.repositories["model", "tiny/qwen2"].commit, "0" * 40)
        (self.sets / "registry.toml").write_text(
            'schema_version = 1\n[[dataset]]\nkey = "own"\npath = "own.json"\nsource = "a friend"\n'
            '[[dataset]]\nkey = "far"\npath = "far.json"\nsource = "x"\nsha256 = "00"\n'
            '[[dataset.fetch]]\nkind = "url"\nurl = "http://127.0.0.1:9/far.json"\n'
        )
        experiment = self.scratch / "paper.toml"
        experiment.write_text(
            '[data]\nsets = [{ dataset = "own" }, { dataset = "far" }]\n'
            '[generation]\nmodels = ["tiny_gemma2", "unrecorded", "tiny_qwen2"]\n'
        )
        card = self.card("NVIDIA Test, 550.54, 7.5, 81559")
        ran = self.run_export("--experiment", str(experiment), "--preflight", "--provider", "cuda", **card)
        self.assertEqual(ran.code, 1)
        expected = [
            "no token of the hub: set HF_TOKEN",
            "model `tiny_gemma2`: `tiny/gemma2` is gated: accept its licence at https://huggingface.co/tiny/gemma2",
            "has no file `merges.txt`",
            "`tiny/qwen2` has no revision 0000",
            "data set `own`: `.*own.json` is not there; get it by hand from a friend",
            "data set `far`: http://127.0.0.1:9/far.json: .*refused",
            "memory: exporting `tiny_gemma2` takes about 400002.0 GB",
            "card: running `tiny_gemma2` takes about 220002.0 GB, NVIDIA Test has 85.5 GB",
            "card: the driver of NVIDIA Test is 550.54, CUDA 13 takes 580 or newer; without it set both .* to .cpu.",
            "card: NVIDIA Test has compute capability 7.5, arithmetic in bf16 takes 8.0 or higher; without it ",
            "disk: 0.0 GB to fetch into .* \\+ 200000.0 GB to export into .*; .* GB are free",
        ]
        if importlib.util.find_spec("torch") is None:
            expected.append("the parity gate of unrecorded needs torch and transformers: .*requirements-cuda.txt")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            expected.append("cuda: the gate of a model exported for cuda runs it there, .* has no CUDAExecutionProvider; ")
        for problem in expected:
            self.assertRegex(ran.said, f"  - .*{problem}")
        self.assertIn(f"preflight: {len(expected)} missing", ran.said)
        self.assertEqual(self.fetched("*"), [])

    def test_with_everything_there_it_says_what_will_come(self) -> None:
        self.checkpoint("gemma2", gated=True)
        ran = self.run_export(
            "--pool", "paper", "--preflight", "--provider", "cuda", "--torch-comes", token=True,
            **self.card("Small, 580.65.06, 9.0, 8192\nLarge, 580.65.06, 8.9, 9000"),
        )  # fmt: skip
        self.assertEqual(ran.code, 0, ran.said)
        for note in (
            "1 models to export", "hub: 5 files, 0 of them in the cache", "the token is accepted",
            "card: .*Large has 9.4 GB", "disk: .* to fetch", "memory: exporting `tiny_gemma2` takes about 2.0 GB",
            "onnxruntime-gpu 0 is in place", "nothing is missing",
        ):  # fmt: skip
            self.assertRegex(ran.said, note)
        self.assertEqual(self.fetched("*"), [])

    def test_a_card_that_is_not_there_is_missed_where_a_gate_runs_on_it(self) -> None:
        self.checkpoint("llama")
        wanted = ("--pool", "paper", "--provider", "cuda")
        ran = self.run_export(*wanted, "--preflight", PATH="/nowhere")
        self.assertEqual(ran.code, 1, ran.said)
        self.assertRegex(ran.said, "  - card: nvidia-smi does not answer; .*gate of tiny_llama needs one; .*to \"cpu\"")
        self.assertIn("docs/reproducing.md, Without a GPU", ran.said)
        self.assertEqual(self.fetch("--provider", "cuda", PATH="/nowhere").code, 0)  # fetching alone needs none
        self.entries = self.entries.replace('cuda_precision = "bf16"\n', "")  # exported as for the CPU, gate and all
        ran = self.run_export(*wanted, "--preflight", PATH="/nowhere")
        self.assertEqual(ran.code, 0, ran.said)
        self.assertIn("nvidia-smi does not answer", ran.said)

    def test_an_experiment_whose_models_are_exported_still_computes_on_a_card(self) -> None:
        self.checkpoint("llama")
        (self.models / "registry.toml").write_text(self.entries)
        entries = registry.load(self.models / "registry.toml")
        on_cuda, said = registry.Providers("cuda", "cuda"), []
        for run, providers_of, card in (
            (entries.models, on_cuda, None), ([], on_cuda, None), (entries.models, registry.Providers(), None),
            (entries.models, on_cuda, machine.Card("T", 1 << 40, "550.1", (9, 0))),
        ):  # fmt: skip
            findings = preflight.Findings()
            with mock.patch.object(machine, "largest_card", return_value=card):
                preflight.check_card(Plan(entries, [], [], self.models, providers_of, run=run), findings)
            said.append(findings.problems)
        self.assertEqual([len(problems) for problems in said], [1, 0, 0, 1])
        self.assertRegex(said[0][0], "nvidia-smi does not answer; .* and the experiment computes on one; without it set both")
        self.assertRegex(said[3][0], "the driver of T is 550.1, CUDA 13 takes")

    def test_cuda_is_tried_for_what_is_exported_and_for_what_is_run(self) -> None:
        self.checkpoint("llama")
        (self.models / "registry.toml").write_text(self.entries)
        entries = registry.load(self.models / "registry.toml")
        evaluator = dataclasses.replace(entries.models[0], key="e", role="evaluator", architecture="cross_encoder")
        on_cuda, found = registry.Providers("cuda", "cuda"), []
        for due, run, comes in (
            (entries.models, [], False), ([], [*entries.models, evaluator], False), ([], [], False), (entries.models, [], True),
        ):  # fmt: skip
            findings = preflight.Findings()
            with (
                mock.patch.object(providers, "check"),
                mock.patch.object(cuda_trial, "problems", return_value=["no card"]) as tried,
            ):
                plan = Plan(entries, due, [], self.models, on_cuda, torch_comes=comes, run=run)
                preflight.check_cuda(plan, findings)
            found.append((tried.call_args and tried.call_args.args[0], findings.problems))
        self.assertEqual(found, [(False, ["cuda: no card"]), (True, ["cuda: no card"]), (None, []), (None, [])])

    def test_an_old_python_is_told_where_models_are_for_a_gpu(self) -> None:
        self.checkpoint("llama")
        (self.models / "registry.toml").write_text(self.entries)
        entries = registry.load(self.models / "registry.toml")
        for provider, version, expected in (("cuda", (3, 10), 1), ("cuda", (3, 11), 0), ("cpu", (3, 10), 0)):
            providers = registry.Providers(provider, provider)
            findings = preflight.Findings()
            preflight.check_python(Plan(entries, entries.models, [], self.models, providers), findings, version)
            self.assertEqual(len(findings.problems), expected, (provider, version))
        preflight.check_python(Plan(entries, entries.models, [], self.models, registry.Providers("cuda")), findings, (3, 10))
        self.assertIn("a GPU takes Python 3.11 or newer (export/requirements-cuda.txt), this is 3.10", findings.problems[0])

    def test_a_hub_that_does_not_answer_is_one_problem(self) -> None:
        self.checkpoint("llama")
        self.hub.close()
        ran = self.run_export("--pool", "paper", "--preflight")
        self.assertEqual(ran.code, 1)
        problem = f"the hub {self.hub.address} cannot be asked: the connection .* failed .*its cache lacks:\n .*config.json"
        self.assertRegex(ran.said, problem)
        self.assertIn("preflight: 1 missing", ran.said)

    def test_a_file_of_another_size_or_hash_is_told_before_it_comes(self) -> None:
        self.checkpoint("llama")
        self.entries = self.entries.replace("bytes = ", "bytes = 1", 1)
        ran = self.fetch()
        self.assertEqual(ran.code, 1)
        self.assertRegex(ran.said, "config.json has [0-9]+ bytes, the registry says 1[0-9]+")

    def test_an_export_begins_with_it(self) -> None:
        self.checkpoint("gemma2", gated=True)
        ran = self.run_export("--pool", "paper")
        self.assertEqual(ran.code, 1)
        self.assertIn("preflight: ", ran.said)
        self.assertEqual(self.hub.gets("config.json"), [])

    def test_a_provider_without_a_runtime_is_told(self) -> None:
        self.checkpoint("llama")
        ran = self.run_export("--pool", "paper", "--preflight", "--provider", "openvino")
        self.assertIn("no runtime for the provider `openvino` in the registry; it has: cpu, cuda", ran.said)


class Machine(unittest.TestCase):
    def test_memory_and_disks_are_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "meminfo"
            path.write_text("MemTotal:       2000 kB\nMemAvailable:    1000 kB\n")
            limit = path.with_name("memory.max")
            self.assertEqual(machine.available_memory(path, limit), 1_024_000)
            for said, expected in (("max\n", 1_024_000), ("5000\n", 5000), ("9999999\n", 1_024_000)):
                limit.write_text(said)
                self.assertEqual(machine.available_memory(path, limit), expected)
            self.assertIsNone(machine.available_memory(path.with_name("none"), limit))
            self.assertGreater(machine.free_on_disk(path / "not" / "yet"), 0)
            self.assertEqual(machine.disk_of(path / "not" / "yet"), path.stat().st_dev)

    def test_a_failing_nvidia_smi_is_no_card(self) -> None:
        self.assertIsNone(machine.largest_card(["false"]))
        self.assertIsNone(machine.largest_card(["echo", "NVIDIA-SMI has failed"]))
        self.assertIsNone(machine.largest_card(["echo", "Field compute_cap is not a valid field to query., 2"]))
        for line, expected in (
            ("A, B, 580.65.06, 12.0, 2", machine.Card("A, B", 2 << 20, "580.65.06", (12, 0))),
            ("A, [N/A], [N/A], 2", machine.Card("A", 2 << 20)),
        ):
            self.assertEqual(machine.largest_card(["echo", line]), expected)


class Footprints(unittest.TestCase):
    def test_both_programs_estimate_alike(self) -> None:
        cases = json.loads((REPOSITORY / "tests/expected/footprints.json").read_text())
        self.assertGreater(len(cases), 5)
        for case in cases:
            model = Model(
                "toy", "tiny", "inference", case["architecture"], case["precision"], "toy", "none", "MIT", 8, case["files"],
                Export("none", 0.0, cuda_precision=case["cuda_precision"]), [Artifact("a", "00", [PathSource("a")])],
                parameters=case["parameters"],
            )  # fmt: skip
            for provider in ("cpu", "cuda"):
                found = footprint.of(model, provider)
                self.assertEqual(found and dataclasses.asdict(found), case[provider], case)


if __name__ == "__main__":
    unittest.main()
