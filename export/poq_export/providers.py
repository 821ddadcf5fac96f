"""Sessions of ONNX Runtime on the provider that was asked for, and on no other."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

EXECUTION = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# Without it the norms behind a sum add squares up in half precision, as the reference does not.
OPTIONS = {"cpu": {}, "cuda": {"enable_skip_layer_norm_strict_mode": "1"}}
ENVIRONMENT = ".venv/cuda"
INSTALL = f"python -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/python -m pip install -r export/requirements-cuda.txt"


class ProviderError(Exception):
    """ONNX Runtime cannot compute on the provider that was asked for."""


def check(provider: str) -> None:
    """An error where Python's ONNX Runtime was built without the provider."""
    if EXECUTION[provider] not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"the gate of a model exported for {provider} runs it there, and the installed ONNX Runtime "
            f"({onnxruntime.__version__}) has no {EXECUTION[provider]}; it needs an environment of its own: {INSTALL}"
        )


def session(path: Path, provider: str = "cpu") -> onnxruntime.InferenceSession:
    """A session of a graph. Where a provider does not load, ONNX Runtime takes the CPU with a warning; this refuses to."""
    check(provider)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if provider == "cuda":
        onnxruntime.preload_dlls()  # those of CUDA's Python packages, where they are installed
    opened = onnxruntime.InferenceSession(path, options, providers=[(EXECUTION[provider], OPTIONS[provider])])
    if (found := opened.get_providers()[0]) != EXECUTION[provider]:
        raise ProviderError(f"ONNX Runtime opened {path.name} on {found}, not on {EXECUTION[provider]}: is there a driver?")
    return opened
