"""The card as a stand-in for nvidia-smi tells of it."""

from __future__ import annotations

import os
import stat
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from gpu import card

SMI = """#!/bin/sh
case "$*" in
*loop-ms*) while :; do echo "80, 1000"; echo "[N/A], 7"; echo "100, 3000"; sleep 0.01; done ;;
*) echo "NVIDIA H200, 580.159.04, 143771" ;;
esac
"""


class Watched(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def smi(self, text: str) -> None:
        """Put a program in front of the path."""
        program = self.folder / "nvidia-smi"
        program.write_text(text, encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        patch = mock.patch.dict(os.environ, {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"})
        patch.start()
        self.addCleanup(patch.stop)

    def test_the_card_and_its_bandwidth(self) -> None:
        self.smi(SMI)
        found = card.find()
        self.assertEqual(found, card.Card("NVIDIA H200", "580.159.04", 143771))
        self.assertEqual(found.nominal_gb_per_s, 4800)
        self.assertIsNone(card.Card("NVIDIA of 2030", "1", 1).nominal_gb_per_s)

    def test_no_card_has_a_reason(self) -> None:
        self.smi("#!/bin/sh\necho 'No devices were found'; exit 6\n")
        self.assertIn("No devices were found", card.find())
        with mock.patch.dict(os.environ, {"PATH": ""}):
            self.assertIn("no nvidia-smi", card.find())

    def test_how_busy_it_was(self) -> None:
        self.smi(SMI)
        begin = time.monotonic()
        with card.Watch() as watch:
            while len(watch.samples) < 10 and time.monotonic() < begin + 20:
                time.sleep(0.01)
        share = watch.busy_share(begin, time.monotonic())
        self.assertGreaterEqual(len(watch.samples), 10)
        self.assertTrue(0.8 < share < 1.0, share)
        self.assertEqual(watch.peak_memory_mb(), 3000)
        self.assertIsNone(watch.busy_share(begin - 2, begin - 1))


if __name__ == "__main__":
    unittest.main()
