"""Writes peers.json for programs and RESULTS.md for people, and says what machine it was."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

import psutil
from rows import Measured, table
from settings import REPOSITORY

# Instructions that decide how fast reduced precision is.
TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
HEAD = """# Measured against the Python tools

Written by `{command}`. Every figure is the median of paired repeats in that one run; a ratio above 1 means
that poq is ahead. How the comparison is kept fair is said in benches/peers/README.md.
"""


def write_entries(entries: list[dict], out: Path, facts: dict[str, str]) -> None:
    """peers.json: what was measured now, and rows that only an earlier run measured, each with its commit and day."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "peers.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = [one | {"poq": facts["poq"], "date": facts["date"]} for one in entries]
    kept = [one for one in earlier if one["name"] not in {entry["name"] for entry in now}]
    text = json.dumps(kept + now, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def write(measured: Measured, results: Path, command: str, facts: dict[str, str]) -> None:
    """The table for people, and what could not be measured."""
    parts = [HEAD.format(command=command), *summary(measured.entries), machine_section(facts), *measured.sections]
    if measured.problems:
        lines = [f"- `{name}`: {problem}" for name, problem in measured.problems.items()]
        parts.append("\n".join(["## Not measured, or not comparable\n", *lines]))
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def summary(entries: list[dict]) -> list[str]:
    """A line per entry."""
    if not entries:
        return []
    rows = []
    for one in entries:
        low, high = one["spread"]["ratio"]
        digits = 3 if one["unit"] in ("s", "M rounds/s") else 1
        values = [f"{one[side]:.{digits}f}" for side in ("ours", "peer")]
        ratio = [f"**{one['ratio']:.2f}**", f"{low:.2f}..{high:.2f}"]
        rows.append([f"`{one['name']}`", *values, one["unit"], *ratio, one["ours_tool"], one["peer_tool"]])
    return [table(["row", "poq", "peer", "unit", "ratio", "spread", "poq as", "the peer"], rows)]


def machine_section(facts: dict[str, str]) -> str:
    """What it was measured on."""
    return "## Machine\n\n" + "\n".join(f"- {name}: {value}" for name, value in facts.items())


def machine() -> dict[str, str]:
    """Processor, cores, memory, system and how busy it was; read before anything is timed."""
    names: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        names.setdefault(name.strip(), value.strip())
    flags = set(names.get("flags", "").split())
    present = [flag for flag in TELLING_FLAGS if flag in flags]
    model = (
        f"{names.get('model name', platform.machine())} (family {names.get('cpu family')}, model {names.get('model')})"
    )
    return {
        "processor": model + (f", {' '.join(present)}" if present else ""),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
    }


def commit() -> str:
    """The commit that is checked out, and whether files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "not a git checkout"
