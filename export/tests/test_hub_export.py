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

    def test_checkpoints_as_they_are_published_become_exported_models(self) -> None:
        for family, sharded in FAMILIES.items():
            self.checkpoint(family, sharded, hashed=True)
        (self.scratch / "references").mkdir()
        for model in tomllib.loads(self.entries)["model"]:
            recording = json.loads((EXPORT / "references" / f"{model['key']}.json").read_text())
            recording["artifacts"] = {artifact["name"]: artifact["sha256"] for artifact in model["artifact"]}
            (self.scratch / "references" / f"{model['key']}.json").write_text(json.dumps(recording))
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


if __name__ == "__main__":
    unittest.main()
