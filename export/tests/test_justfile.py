"""What the justfile's recipes print; `just test` runs this with the `just` that runs the recipe."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
JUST = shutil.which("just")


@unittest.skipUnless(JUST, "NOT RUN: there is no `just` on the PATH; `just test` puts one there")
class Justfile(unittest.TestCase):
    def run_just(self, *arguments: str, folder: Path = REPOSITORY, **settings: str) -> str:
        """What a recipe prints in a folder."""
        command = [JUST, "--justfile", str(REPOSITORY / "justfile"), "--working-directory", str(folder), *arguments]
        settings = {"PATH": os.environ["PATH"]} | settings
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=True).stdout

    def test_cudas_libraries_come_before_those_of_the_system(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch).resolve()
            self.assertEqual(self.run_just("cuda-libraries", folder=folder, LD_LIBRARY_PATH="/own"), "")
            packages = folder / ".venv/cuda/lib/python3.12/site-packages/nvidia"
            for name in ("cu13/lib", "cudnn/lib", "cu13/include"):
                (packages / name).mkdir(parents=True)
            own = f"{packages}/cu13/lib:{packages}/cudnn/lib"
            self.assertEqual(self.run_just("cuda-libraries", folder=folder), f"{own}\n")
            self.assertEqual(self.run_just("cuda-libraries", folder=folder, LD_LIBRARY_PATH="/own"), f"{own}:/own\n")

    def test_a_preflight_looks_with_the_environment_that_is_installed(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name in ("export", ".venv/export/bin", ".venv/cuda/bin"):
                (folder / name).mkdir(parents=True)
            for name in ("export/requirements.txt", ".venv/export/requirements.txt"):
                (folder / name).touch()
            for name in ("export", "cuda"):
                python = folder / f".venv/{name}/bin/python"
                answer = f'[[ "${{@: -1}}" == --environment ]] && echo cuda || echo {name} "$@"'
                python.write_text(f"#!/usr/bin/env bash\n{answer}\n")
                python.chmod(0o755)
            asked = ("preflight", "paper")
            first = self.run_just(*asked, folder=folder)
            self.assertRegex(first, "^export -m poq_export --experiment .* --preflight --preflight --torch-comes\n$")
            (folder / ".venv/cuda/requirements.txt").touch()
            self.assertRegex(self.run_just(*asked, folder=folder), "^cuda -m poq_export --experiment .* --preflight\n$")

    def test_a_recipe_is_described_by_what_it_does(self) -> None:
        listed = [line.split(" # ", 1)[-1] for line in self.run_just("--list").splitlines() if " # " in line]
        self.assertGreater(len(listed), 10)
        for description in listed:
            self.assertRegex(description, r"^[A-Z]\w+,? ")
            self.assertFalse(description.startswith("Flags"), description)


if __name__ == "__main__":
    unittest.main()
