"""What was measured, a line per cell, written as soon as it is done: an end at any moment loses one cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .plan import Cell

# A cell that failed for another reason is tried again by the next command.
LASTING = ("out of memory", "outofmemory", "failed to allocate", "no answer within")


def is_out_of_memory(reason: str) -> bool:
    """Whether the reason is the card's memory."""
    return any(words in reason.lower() for words in LASTING[:3])


class Store:
    """`cells.jsonl`: records of this and earlier commands; those of another card or size are kept unread."""

    def __init__(self, path: Path, conditions: dict[str, Any]) -> None:
        self.path = path
        self.conditions = conditions
        self.records: dict[str, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:  # cut off while it was written: the cell is measured again
                continue
            if record["conditions"] == conditions:
                self.records[record["cell"]] = record

    def is_done(self, cell: Cell) -> bool:
        """Measured, or failed in a way that another attempt would not change."""
        record = self.records.get(cell.name)
        if record is None:
            return False
        reason = record.get("missing")
        return reason is None or any(words in reason.lower() for words in LASTING)

    def add(self, cell: Cell, **found: Any) -> dict[str, Any]:
        """Note what came of a cell: figures, or the reason why there are none under `missing`."""
        record = {"cell": cell.name, "stage": cell.stage, "model": cell.model, "batch_size": cell.batch_size}
        record |= {"tool": cell.tool, "conditions": self.conditions} | found
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        self.records[cell.name] = record
        return record

    def find(self, stage: str, model: str, batch_size: int, tool: str) -> dict[str, Any] | None:
        """The record of a cell, whether measured or missing."""
        return self.records.get(Cell(stage, model, batch_size, tool).name)
