"""The provider cuda as the CPU's, for tests of everything but the device."""

from __future__ import annotations

import unittest
from unittest import mock

from poq_export import providers


def stand_in(case: unittest.TestCase) -> None:
    """As a machine with CUDA would be, until the test ends."""
    for patch in (
        mock.patch.dict(providers.EXECUTION, {"cuda": "CPUExecutionProvider"}),
        mock.patch.dict(providers.OPTIONS, {"cuda": {}}),
        mock.patch.object(providers, "load_libraries"),
    ):
        patch.start()
        case.addCleanup(patch.stop)
