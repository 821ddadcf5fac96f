"""Which shared libraries a shared library asks the loader for, read from its bytes.

`readelf -d` says the same, but not every machine that runs the tests has it.
"""

from __future__ import annotations

import mmap
import struct

LOADABLE, DYNAMIC = 1, 2  # kinds of segment
END, NEEDED, STRING_TABLE = 0, 1, 5  # entries of the dynamic segment


class ElfError(Exception):
    """Not a 64-bit little-endian ELF file."""


def needed(content: bytes | mmap.mmap) -> list[str]:
    """The names in its `NEEDED` entries, in order."""
    if content[:6] != b"\x7fELF\x02\x01":
        raise ElfError("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    # kind, flags, offset in the file, address, physical address, size in the file
    segments = [struct.unpack_from("<IIQQQQ", content, table + index * size) for index in range(count)]
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length in segments:
        if kind == DYNAMIC:
            entries = list(struct.iter_unpack("<qQ", content[offset : offset + length]))
    end = next((place for place, (tag, _) in enumerate(entries) if tag == END), len(entries))
    entries = entries[:end]
    addresses = [value for tag, value in entries if tag == STRING_TABLE]
    if not addresses:
        return []
    strings = _offset(addresses[0], segments)
    return [_string(content, strings + value) for tag, value in entries if tag == NEEDED]


def _offset(address: int, segments: list[tuple[int, ...]]) -> int:
    """Where in the file lies what is loaded to an address."""
    for kind, _, offset, start, _, length in segments:
        if kind == LOADABLE and start <= address < start + length:
            return offset + address - start
    raise ElfError(f"no segment is loaded to the address {address:#x}")


def _string(content: bytes | mmap.mmap, start: int) -> str:
    return content[start : content.find(b"\0", start)].decode()
