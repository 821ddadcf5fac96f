"""The whole command on the CPU with tiny models: what poq does is done, and peers that are not installed say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from gpu.finding import PROBE
from settings import REPOSITORY

POQ = Path(os.environ.get("POQ_BINARY", REPOSITORY / "target/release/poq"))
SUBJECTS = ("llama_3_2_3b", "ce_minilm")


def installed() -> dict[str, str]:
    """Packages of this Python that a peer needs."""
    return json.loads(subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout)[
        "packages"
    ]


class DryRun(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.out = Path(scratch.name)

    def run_command(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """`just bench-gpu`, as the recipe calls it."""
        command = [sys.executable, str(REPOSITORY / "benches/gpu"), "--dry-run", "--out", str(self.out), *flags]
        command += ["--batch-sizes", "4", "--repeats", "1", "--python", sys.executable]
        return subprocess.run(command, capture_output=True, text=True, timeout=900)

    def cells(self) -> dict[str, dict]:
        """What was measured, by name."""
        lines = (self.out / "gpu-dry-run/cells.jsonl").read_text(encoding="utf-8").splitlines()
        return {record["cell"]: record for record in map(json.loads, lines)}

    def test_every_step_works_and_what_is_done_is_not_done_again(self) -> None:
        done = self.run_command("--poq", str(POQ), "--only", *SUBJECTS)
        self.assertEqual(done.returncode, 0, done.stderr)
        cells = self.cells()
        for name, unit in ((f"generate/{SUBJECTS[0]}/b4/poq", "tokens/s"), (f"score/{SUBJECTS[1]}/b4/poq", "pairs/s")):
            self.assertEqual(cells[name]["unit"], unit)
            self.assertGreater(cells[name]["rate"], 0)
        for name in (f"busy/{SUBJECTS[0]}/b4/poq", f"busy/{SUBJECTS[1]}/b4/poq"):
            self.assertRegex(cells[name]["missing"], r"poq (generate|score) ran for .* no card")
        if "torch" not in installed():
            peer = cells[f"generate/{SUBJECTS[0]}/b4/transformers"]
            self.assertIn("torch is not installed", peer["missing"])
        rows = json.loads((self.out / "gpu-dry-run/gpu.json").read_text(encoding="utf-8"))
        row = next(row for row in rows if row["name"] == f"generate_{SUBJECTS[0]}_b4_vs_vllm")
        self.assertEqual((row["peer"], row["ratio"]), (None, None))
        self.assertIn("vllm is not installed", row["missing"]["peer"])
        page = (self.out / "gpu-dry-run/RESULTS-gpu.md").read_text(encoding="utf-8")
        self.assertIn("A dry run on the CPU", page)
        self.assertNotIn("| yes |", page)
        again = self.run_command("--poq", str(POQ), "--only", "generate/*/poq", "--minutes", "0.0001")
        self.assertIn("the next command", again.stderr)
        third = self.run_command("--poq", str(POQ), "--only", f"generate/{SUBJECTS[0]}/b4/poq")
        self.assertIn("1 cells, 0 to measure", third.stderr)

    def test_without_a_binary_the_rows_say_so(self) -> None:
        done = self.run_command("--poq", str(self.out / "none"), "--only", f"generate/{SUBJECTS[0]}/b4/poq")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("there is no", self.cells()[f"generate/{SUBJECTS[0]}/b4/poq"]["missing"])


if __name__ == "__main__":
    unittest.main()
