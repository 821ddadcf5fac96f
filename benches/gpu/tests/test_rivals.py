"""The workers of peers: what they say when they fail, and that the next one begins anew."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from gpu import rivals
from gpu.plan import GENERATE, PIPELINE, VLLM, Cell
from gpu.rivals import Rivals, wrong_lengths
from gpu.store import is_out_of_memory
from gpu.texts import make_prompts
from process import Pass, Unavailable

WORKER = """
import time
from workers.generation import Answer, read_prompts, summarise
from workers.serve import serve

def load(options):
    def run(prompts, batch_size):
        if batch_size == 256:
            raise MemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        time.sleep(60 if batch_size == 128 else 0)
        return [Answer("", range(prompts.new_tokens - (batch_size == 8))) for _ in prompts.texts]
    return run, "fake 1"

serve(load, read=read_prompts, summarise=summarise)
"""


class Failing(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        (self.folder / "fake_worker.py").write_text(WORKER, encoding="utf-8")
        self.prompts = make_prompts(2, 4)
        patches = (
            mock.patch.dict(rivals.MODULES, {PIPELINE: "fake_worker"}),
            mock.patch.dict(os.environ, {"PYTHONPATH": str(self.folder)}),
        )
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        packages = {"torch": "1", "transformers": "1"}
        self.rivals = Rivals(sys.executable, packages, "cpu", self.folder, timeout=120)
        self.addCleanup(self.rivals.stop)

    def timed_pass(self, batch_size: int, tool: str = PIPELINE) -> Pass:
        """A pass of a worker."""
        cell = Cell(GENERATE, "tinyllama_1_1b", batch_size, tool)
        return self.rivals.timed_pass(cell, {}, self.prompts.write(self.folder))

    def test_out_of_memory_ends_one_cell(self) -> None:
        self.assertEqual(len(self.timed_pass(1).answers), 2)
        with self.assertRaisesRegex(Unavailable, "CUDA out of memory") as caught:
            self.timed_pass(256)
        self.assertTrue(is_out_of_memory(str(caught.exception)))
        self.assertIsNone(wrong_lengths(self.timed_pass(1), self.prompts))
        self.assertEqual(self.rivals.describe(), "fake 1")

    def test_a_worker_that_hangs_is_given_up(self) -> None:
        self.timed_pass(1)
        self.rivals._worker[1].timeout = 1
        with self.assertRaisesRegex(Unavailable, "no answer within 1 s"):
            self.timed_pass(128)
        self.assertEqual(len(self.timed_pass(1).answers), 2)

    def test_answers_of_another_length_are_seen(self) -> None:
        self.assertIn("2 of 2 answers do not have 4 tokens", wrong_lengths(self.timed_pass(8), self.prompts))

    def test_what_is_not_installed_is_named(self) -> None:
        with self.assertRaisesRegex(Unavailable, "vllm is not installed"):
            self.timed_pass(1, VLLM)

    def test_a_worker_that_does_not_load_says_why(self) -> None:
        (self.folder / "fake_worker.py").write_text("raise SystemExit(3)", encoding="utf-8")
        with self.assertRaisesRegex(Unavailable, "exit code 3"):
            self.timed_pass(1)


if __name__ == "__main__":
    unittest.main()
