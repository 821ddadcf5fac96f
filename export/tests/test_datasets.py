"""An experiment's data sets: fetched from the hub and from addresses, held to their hashes, fetched once."""

from __future__ import annotations

import hashlib
import unittest
from pathlib import Path

from hub_case import HubCase
from poq_export import datasets
from poq_export.registry import RegistryError

REPOSITORY = Path(__file__).resolve().parents[2]
NEWS, QUESTIONS = b"PAR1 news" * 1000, b'{"data": []}' * 1000


class Fetch(HubCase):
    def setUp(self) -> None:
        super().setUp()
        published = self.scratch / "sets"
        (published / "3.0.0").mkdir(parents=True)
        (published / "3.0.0/test.parquet").write_bytes(NEWS)
        (published / "dev.json").write_bytes(QUESTIONS)
        self.commit = self.hub.add("tiny/sets", published, kind="dataset")
        self.address = f"{self.hub.address}/datasets/tiny/sets/resolve/{self.commit}/dev.json"
        self.checkpoint("llama")
        self.experiment = self.scratch / "paper.toml"
        self.experiment.write_text(
            '[data]\nsets = [{ dataset = "news" }, { dataset = "qa" }]\n[generation]\nmodels = ["tiny_llama"]\n'
        )
        self.list_sets("", f'sha256 = "{hashlib.sha256(QUESTIONS).hexdigest()}"')

    def list_sets(self, news: str, questions: str) -> None:
        """Write the registry with what is said of hashes."""
        hub = f'kind = "hub"\nrepo = "tiny/sets"\nrevision = "{self.commit}"\nfile = "3.0.0/test.parquet"'
        entries = [
            ("news", "fetched/news/test.parquet", news, hub),
            ("qa", "fetched/qa.json", questions, f'kind = "url"\nurl = "{self.address}"'),
        ]
        text = "schema_version = 1\n"
        for key, path, said, fetch in entries:
            text += (
                f'[[dataset]]\nkey = "{key}"\npath = "{path}"\nsource = "somewhere"\n{said}\n[[dataset.fetch]]\n{fetch}\n'
            )
        (self.sets / "registry.toml").write_text(text)

    def test_they_come_with_the_experiment_and_once(self) -> None:
        self.hub.faults.cuts = {"dev.json": [5000], "test.parquet": [5000]}
        ran = self.run_export("--experiment", str(self.experiment), "--fetch-only", token=True)
        self.assertEqual(ran.code, 0, ran.said)
        self.assertEqual((self.sets / "fetched/news/test.parquet").read_bytes(), NEWS)
        self.assertEqual((self.sets / "fetched/qa.json").read_bytes(), QUESTIONS)
        self.assertEqual([headers.get("range") for headers in self.hub.gets("dev.json")], [None, "bytes=5000-"])
        self.assertEqual([headers.get("range") for headers in self.hub.gets("test.parquet")], [None, "bytes=5000-"])
        self.assertEqual(
            {headers.get("authorization") for headers in self.hub.gets("dev.json")}, {None}, "an address gets no token"
        )
        self.assertIn("fetched model.safetensors", ran.said)
        before = len(self.hub.asked)
        self.assertIn("0 data sets to fetch", self.run_export("--experiment", str(self.experiment), "--preflight").said)
        self.assertEqual(len(self.hub.asked), before)

    def test_another_commit_is_fetched_anew(self) -> None:
        self.assertEqual(self.run_export("--experiment", str(self.experiment), "--fetch-only").code, 0)
        changed = self.scratch / "sets/3.0.0/test.parquet"
        changed.write_bytes(NEWS[::-1])
        self.commit = self.hub.add("tiny/sets", self.scratch / "sets", kind="dataset")
        self.list_sets("", f'sha256 = "{hashlib.sha256(QUESTIONS).hexdigest()}"')
        self.assertEqual(self.run_export("--experiment", str(self.experiment), "--fetch-only").code, 0)
        self.assertEqual((self.sets / "fetched/news/test.parquet").read_bytes(), NEWS[::-1])

    def test_a_wrong_hash_names_both_and_leaves_nothing(self) -> None:
        self.list_sets("", f'sha256 = "{"0" * 64}"')
        ran = self.run_export("--experiment", str(self.experiment), "--fetch-only")
        self.assertEqual(ran.code, 1)
        self.assertRegex(
            ran.said, "data set `qa` was not fetched from .*its sha256 is [0-9a-f]{64}, the registry says 0{64}"
        )
        self.assertEqual(list((self.sets / "fetched").glob("qa*")), [])

    def test_an_address_needs_a_hash_and_kinds_are_known(self) -> None:
        self.list_sets("", "")
        with self.assertRaisesRegex(RegistryError, "`qa`: field `sha256` is missing"):
            datasets.load(self.sets)
        registry = (self.sets / "registry.toml").read_text()
        (self.sets / "registry.toml").write_text(registry.replace('kind = "hub"', 'kind = "ftp"'))
        with self.assertRaisesRegex(RegistryError, "`news`: fetch kind `ftp` is not one of hub, url"):
            datasets.load(self.sets)

    def test_an_unknown_data_set_lists_the_known_ones(self) -> None:
        self.experiment.write_text('[data]\nsets = [{ dataset = "nws" }]\n')
        with self.assertRaisesRegex(RegistryError, "`nws`; the registry knows: news, qa"):
            datasets.of_experiment(self.experiment, self.sets)


class Committed(unittest.TestCase):
    def test_whatever_is_not_shipped_can_be_fetched(self) -> None:
        for dataset in datasets.load(REPOSITORY / "datasets").values():
            shipped = dataset.path.parent.name == "quick"
            self.assertEqual(shipped, not dataset.fetch, dataset.key)
            self.assertTrue(not shipped or dataset.problem() is None, dataset.key)


if __name__ == "__main__":
    unittest.main()
