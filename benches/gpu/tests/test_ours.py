"""poq's side: what it is started with, and what is said of its failures."""

from __future__ import annotations

import os
import stat
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from gpu.ours import TOOLKIT, Poq
from gpu.plan import SUBJECTS, TARGET_LLM
from gpu.texts import make_prompts
from process import Unavailable

ON_CPU = '{"rows": [{"error": null, "provider": "cpu", "texts": 2, "seconds": 1.0, "tokens": 8}]}'
SCRIPT = """#!/bin/sh
case "$*" in
*--version*) echo "$LD_LIBRARY_PATH" ;;
*bench*) echo '{answer}'; exit {code} ;;
*) echo "a library's log" >&2; echo "error: it broke" >&2; echo "hint: mend it" >&2; exit 2 ;;
esac
"""


class Ours(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.binary = self.folder / "poq"

    def poq(self, device: str, answer: str = ON_CPU, code: int = 0) -> Poq:
        """A stand-in for the binary, started with folders of libraries."""
        script = SCRIPT.replace("{answer}", answer).replace("{code}", str(code))
        self.binary.write_text(script, encoding="utf-8")
        self.binary.chmod(self.binary.stat().st_mode | stat.S_IXUSR)
        made = SimpleNamespace(device=device, models=self.folder)
        return Poq(self.binary, made, self.folder, 60, ["/cuda", "/cudnn"])

    def test_cuda_libraries_come_after_those_of_the_system(self) -> None:
        with mock.patch.dict(os.environ, {"LD_LIBRARY_PATH": "/system"}):
            self.assertEqual(self.poq("cuda").version, f"/system:{TOOLKIT}:/cuda:/cudnn")
            self.assertEqual(self.poq("cpu").version, "/system")

    def test_a_failure_is_what_poq_says_of_it(self) -> None:
        with self.assertRaisesRegex(Unavailable, "^poq score: it broke hint: mend it$"):
            self.poq("cuda").run("score")

    def test_another_provider_is_no_figure(self) -> None:
        given = SUBJECTS[TARGET_LLM], make_prompts(2, 4), 1, 1
        self.assertEqual(self.poq("cpu").generate(*given)["tokens"], 8)
        with self.assertRaisesRegex(Unavailable, "by the provider cpu, not by cuda"):
            self.poq("cuda").generate(*given)
        with self.assertRaisesRegex(Unavailable, "out of memory"):
            self.poq("cuda", '{"rows": [{"error": "CUDA out of memory"}]}', code=2).generate(*given)

    def test_a_binary_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(Unavailable, "cannot be started"):
            Poq(self.folder / "none", SimpleNamespace(device="cpu", models=self.folder), self.folder, 60)


if __name__ == "__main__":
    unittest.main()
