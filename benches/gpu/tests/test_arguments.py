"""Whose packages the peers are, when nobody says."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from gpu import arguments


class DefaultPython(unittest.TestCase):
    def test_the_variable_then_the_environments_then_this_python(self) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(arguments, "REPOSITORY", Path(folder)),
            mock.patch.dict(os.environ),
        ):
            os.environ.pop("POQ_BENCH_PYTHON", None)
            self.assertEqual(arguments.default_python(), sys.executable)
            for name in (".venv/peers", ".venv/cuda"):  # the later one comes first
                python = Path(folder) / name / "bin/python"
                python.parent.mkdir(parents=True)
                python.touch()
                self.assertEqual(arguments.default_python(), str(python))
            os.environ["POQ_BENCH_PYTHON"] = "another"
            self.assertEqual(arguments.default_python(), "another")


if __name__ == "__main__":
    unittest.main()
