"""Sessions of ONNX Runtime on the provider that was asked for, and on no other."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import mmap
import re
from pathlib import Path

import onnxruntime

from . import elf

EXECUTION = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# As the engine sets them. Without the first the norms behind a sum add squares up in half precision, as the reference does
# not; without the second products in f32 are computed with ten bits of mantissa.
OPTIONS = {"cpu": {}, "cuda": {"enable_skip_layer_norm_strict_mode": "1", "use_tf32": "0"}}
ENVIRONMENT = ".venv/cuda"
INSTALL = f"python -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/python -m pip install -r export/requirements-cuda.txt"
LIBRARY = "libonnxruntime_providers_cuda.so"
CUDNN = "libcudnn.so.9"  # loaded when the first operator wants it: evaluators' attention does, decoders' does not
DRIVER = "libcuda.so.1"
SILENT = 4  # of ONNX Runtime's severities: what it has to say stands in its exceptions, too
OUT_OF_MEMORY = re.compile(r"out of memory|Failed to allocate memory|_STATUS_ALLOC_FAILED")


class ProviderError(Exception):
    """ONNX Runtime cannot compute on the provider that was asked for."""


def check(provider: str) -> None:
    """An error where Python's ONNX Runtime was built without the provider."""
    if EXECUTION[provider] not in onnxruntime.get_available_providers():
        raise ProviderError(
            f"the gate of a model exported for {provider} runs it there, and the installed ONNX Runtime "
            f"({onnxruntime.__version__}) has no {EXECUTION[provider]}; it needs an environment of its own: {INSTALL}"
        )


def session(graph: Path | bytes, provider: str = "cpu") -> onnxruntime.InferenceSession:
    """A session of a graph. Where a provider does not load, ONNX Runtime takes the CPU with a warning; this refuses to."""
    check(provider)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    name = graph.name if isinstance(graph, Path) else "a graph"
    if provider == "cuda":
        load_libraries()
    try:
        opened = onnxruntime.InferenceSession(
            graph, options, providers=[(EXECUTION[provider], OPTIONS[provider])], enable_fallback=0
        )
    except Exception as error:
        if provider == "cuda" and (reason := failure_of_cuda(error)):
            raise ProviderError(f"ONNX Runtime cannot open {name} on the card: {reason}") from None
        raise
    if (found := opened.get_providers()[0]) != EXECUTION[provider]:
        raise ProviderError(f"ONNX Runtime opened {name} on {found}, not on {EXECUTION[provider]}: is there a driver?")
    return opened


@functools.cache
def load_libraries() -> None:
    """Load CUDA's, from its Python packages or from where the loader looks; an error names all that are missing."""
    onnxruntime.set_default_logger_severity(SILENT)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it misses
        onnxruntime.preload_dlls()
    if absent := missing_libraries(Path(onnxruntime.__file__).parent / "capi" / LIBRARY):
        named = " and ".join(absent)
        raise ProviderError(f"the loader does not find {named}, which ONNX Runtime needs for CUDA; {source(absent)}")


def missing_libraries(library: Path) -> list[str]:
    """What a library asks for and the loader does not find."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        needed = elf.needed(content)
    return [name for name in needed if not (library.parent / name).exists() and not is_found(name)]


def is_found(library: str) -> bool:
    """Whether the loader finds a library, or has it already."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def source(libraries: list[str]) -> str:
    """Where missing libraries come from."""
    driver = f"{DRIVER} belongs to NVIDIA's driver" if DRIVER in libraries else ""
    others = f"`just reference-environment cuda` installs CUDA's libraries into {ENVIRONMENT}"
    return "; ".join(filter(None, (driver, others if set(libraries) - {DRIVER} else "")))


def failure_of_cuda(error: Exception) -> str | None:
    """What CUDA itself said, out of an error of ONNX Runtime's."""
    found = re.search(r"(?:CUDA|CUBLAS|CUDNN) failure \d+: [^;\n]+", str(error))
    if found:
        return found[0].strip()
    return "its memory is full" if is_out_of_memory(error) else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a buffer could not be had; ONNX Runtime and torch have no type for it that both share."""
    return OUT_OF_MEMORY.search(str(error)) is not None

