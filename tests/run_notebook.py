"""Runs results/explore.ipynb from top to bottom on a run and fails on the first error.

    python tests/run_notebook.py results/quick [EXECUTED.ipynb]

The notebook itself is left alone; with a second argument, a copy with outputs is written there. Needs
results/requirements.txt.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).parent.parent / "results" / "explore.ipynb"


def main(run: Path, executed: Path | None) -> int:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    with_outputs = [cell["id"] for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    if with_outputs:
        print(
            f"error: {NOTEBOOK} is to be committed without outputs; {', '.join(with_outputs)} have some",
            file=sys.stderr,
        )
        return 1
    os.environ["POQ_RUN"] = str(run.resolve())
    began = time.monotonic()
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"error: {NOTEBOOK} fails on {run}:\n{error}", file=sys.stderr)
        return 1
    finally:
        if executed:
            nbformat.write(notebook, executed)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    warnings = [output["text"] for output in outputs if output.get("name") == "stderr"]
    if warnings:
        print(f"error: {NOTEBOOK} warns on {run}:\n{''.join(warnings)}", file=sys.stderr)
        return 1
    figures = sum("image/png" in output.get("data", {}) for output in outputs)
    code = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{NOTEBOOK.name} on {run}: {code} cells, {figures} figures, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python tests/run_notebook.py RUN_DIRECTORY [EXECUTED.ipynb]")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None))
