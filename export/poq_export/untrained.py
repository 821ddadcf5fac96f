"""A classifier's weights drawn from a fixed seed, for cross-encoders whose trained head cannot be had.

Such a model costs what the trained one costs and must agree with its reference all the same; its scores mean nothing.
Needs nothing but numpy, so that a script with torch in its hands can give the same head to its own model.
"""

from __future__ import annotations

import numpy as np

SEED = 20240613
SPREAD = 2.0


def untrained_head(hidden: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight [labels, hidden] and bias [labels], float32; the same for everyone who asks for the same shape.

    Made from the generator's raw bits, a stream that numpy promises not to change between versions; its distributions
    come without that promise. With this spread, logits of all-MiniLM-L6-v2 have a standard deviation of 0.9 over the pairs of drift_inputs.py.
    """
    bits = np.random.PCG64(SEED).random_raw(labels * hidden)
    uniform = (bits >> np.uint64(11)) * 2.0**-53 * 2 - 1
    weight = (SPREAD * uniform).reshape(labels, hidden)
    return weight.astype(np.float32), np.zeros(labels, np.float32)
