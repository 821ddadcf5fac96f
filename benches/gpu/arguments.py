"""The command line of `just bench-gpu`; needs nothing but Python itself."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from settings import REPOSITORY

ENVIRONMENTS = (".venv/cuda", ".venv/peers")
ABOUT = """`just bench-gpu`: poq on a GPU against transformers, vLLM and sentence-transformers on the same card.

Nothing is fetched. It looks for
  - poq: the binary of --poq; else what `cargo build --release --locked` makes, where there is cargo; else target/release/poq
  - ONNX Runtime with CUDA: models/runtime-cuda; else it is taken out of the wheel of onnxruntime-gpu in --wheels
  - CUDA's libraries: where the system has them, else beside torch in the Python of --python
  - Python packages of the export and the peers: those of this Python and, in front of them, the wheels in --wheels
  - torch and transformers, vLLM, sentence-transformers: in the Python of --python; a tool that is not installed there is
    left out, and the table says so
  - the card: nvidia-smi, first card

The five LLMs and three evaluators of the paper have their published sizes (export/published/) and random weights, made
here: speed does not depend on the weights. Stop tokens are ignored. Results go to OUT/gpu.json and OUT/RESULTS-gpu.md; every
cell is kept in OUT/gpu/cells.jsonl as soon as it is done, and the same command goes on with what is missing.
"""


def default_python() -> str:
    """Whose packages the peers are: torch in `.venv/cuda` is there wherever models were exported for a GPU."""
    found = [python for name in ENVIRONMENTS if (python := REPOSITORY / name / "bin/python").exists()]
    return os.environ.get("POQ_BENCH_PYTHON") or str(found[0] if found else sys.executable)


def folder(arguments: argparse.Namespace) -> Path:
    """Where everything goes that is made or measured, but for the results themselves."""
    return arguments.out.resolve() / ("gpu-dry-run" if arguments.dry_run else "gpu")


def parse_arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="just bench-gpu", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="cells by name or a part of it: generate/*/b1/poq, llama_3_2_3b, vllm",
    )
    add("--batch-sizes", nargs="+", type=int, metavar="N", help="instead of 1 8 32 128 256")
    add("--new-tokens", type=int, metavar="N", help="of every answer (default: 128)")
    add("--repeats", type=int, metavar="N", help="timed passes; the median counts (default: 3)")
    add("--minutes", type=float, metavar="N", help="begin no cell after so many; the same command goes on later")
    add(
        "--cell-timeout",
        type=float,
        default=480,
        metavar="S",
        help="seconds until a tool is given up (default: %(default)s)",
    )
    add("--cuda-graphs", action="store_true", help="let poq replay decode steps as CUDA graphs; cells of their own")
    add("--again", action="store_true", help="measure what is measured already")
    add("--dry-run", action="store_true", help="every step on the CPU, with tiny models; needs no card")
    add("--commit-table", action="store_true", help="write benches/RESULTS-gpu.md instead of the page beside gpu.json")
    add("--poq", type=Path, help="the binary")
    add(
        "--python",
        default=default_python(),
        help="with the peers (default: POQ_BENCH_PYTHON, .venv/cuda, .venv/peers, or this one)",
    )
    add("--wheels", type=Path, metavar="DIR", help="wheels of what is not installed here")
    add("--models", type=Path, default=REPOSITORY / "models", help="where runtime-cuda lies (default: models)")
    add("--out", type=Path, default=REPOSITORY / "results/bench", help="where gpu.json goes (default: results/bench)")
    arguments = parser.parse_args()
    if arguments.commit_table and (arguments.dry_run or arguments.batch_sizes or arguments.new_tokens):
        parser.error(
            "--commit-table is for a whole measurement on a card: neither --dry-run, --batch-sizes nor --new-tokens"
        )
    return arguments
