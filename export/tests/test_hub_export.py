"""From a hub to an exported model: fetched, built, held to its reference, declared with what it was made from."""

from __future__ import annotations

import json
import unittest

from hub_case import EXPORT, HubCase
from poq_export.registry import tomllib

# the committed recordings, which here name every file of the checkpoint
DRIVER = """
import sys; from pathlib import Path
from poq_export import references
references.COMMITTED = Path("references")
from poq_export.__main__ import main
sys.exit(main())
"""
FAMILIES = {
    "llama": True,
    "qwen2": False,
    "phi3": True,
    "gemma2": False,
}  # the architectures of the pool; in shards or whole


class Export(HubCase):
    program = ("-c", DRIVER)

    def lay_recordings(self) -> None:
        """The committed recordings, as if they were made from these very files."""
        (self.scratch / "references").mkdir()
        for model in tomllib.loads(self.entries)["model"]:
            recording = json.loads((EXPORT / "references" / f"{model['key']}.json").read_text())
            recording["artifacts"] = {artifact["name"]: artifact["sha256"] for artifact in model["artifact"]}
            (self.scratch / "references" / f"{model['key']}.json").write_text(json.dumps(recording))

    def test_checkpoints_as_they_are_published_become_exported_models(self) -> None:
        for family, sharded in FAMILIES.items():
            self.checkpoint(family, sharded, hashed=True)
        self.lay_recordings()
        ran = self.run_export("--pool", "paper")
        self.assertEqual(ran.code, 0, ran.said)
        for family in FAMILIES:
            manifest = json.loads((self.models / f"tiny_{family}" / "manifest.json").read_text())
            self.assertEqual(manifest["stop_token_ids"], [2, 0], family)
            self.assertIn("config.json", manifest["artifacts"])
        asked = len(self.hub.asked)
        again = self.run_export("--pool", "paper")
        self.assertIn("0 to export", again.said)
        self.assertEqual(len(self.hub.asked), asked)

    def test_a_model_that_fails_its_gate_does_not_keep_the_next_from_being_exported(self) -> None:
        for family in ("llama", "qwen2"):
            self.checkpoint(family, hashed=True)
        self.lay_recordings()
        path = self.scratch / "references/tiny_llama.json"
        path.write_text(path.read_text().replace('"0": 8.58104', '"0": 9.58104', 1))
        experiment = self.scratch / "small.toml"
        experiment.write_text('[generation]\nmodels = ["tiny_llama", "tiny_qwen2"]\n')
        ran = self.run_export("--experiment", str(experiment))
        self.assertEqual(ran.code, 1, ran.said)
        self.assertIn("error: `tiny_llama` is not exported: GateFailure: ", ran.said)
        self.assertIn("1 of 2 failed: tiny_llama\n", ran.said)
        self.assertIn("`just reproduce small --skip-missing`", ran.said)
        manifests = [(self.models / key / "manifest.json").exists() for key in ("tiny_llama", "tiny_qwen2")]
        self.assertEqual(manifests, [False, True])
        ran = self.run_export("--experiment", str(experiment), "--skip-missing")
        self.assertEqual(ran.code, 0, ran.said)
        self.assertIn("1 of 1 failed: tiny_llama\n", ran.said)
        self.assertNotIn("hint", ran.said)


if __name__ == "__main__":
    unittest.main()
