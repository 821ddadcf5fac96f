"""Memory bandwidth as torch's copy kernel reaches it: bytes read and written per second."""

from __future__ import annotations

import time

import torch

from workers.serve import Pass, serve, versions

COPIES = 20
BYTES = {"cuda": 1 << 32, "cpu": 1 << 26}


def load(options: dict) -> tuple[Pass, str]:
    """Two buffers that no cache holds."""
    device = torch.device(options["device"])
    source = torch.ones(BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def run(_: object, __: int) -> list[float]:
        """GB (10^9 bytes) per second of every copy."""
        found = []
        for _ in range(COPIES):
            wait()
            begin = time.perf_counter()
            target.copy_(source)
            wait()
            found.append(2 * source.numel() / (time.perf_counter() - begin) / 1e9)
        return found

    return run, versions("torch")


if __name__ == "__main__":
    serve(load)
