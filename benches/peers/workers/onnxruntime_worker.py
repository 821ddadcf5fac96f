"""What a careful user writes without a framework: ONNX Runtime's Python API, length-sorted batches, mean pooling.

It runs the graph and the tokenizer that poq exported, so that the rest of the row is the engine around them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from workers.serve import Pass, serve, versions

Forward = Callable[[list[Encoding]], np.ndarray]


def load(options: dict) -> tuple[Pass, str]:
    """The session with its defaults: all cores, all graph optimisations."""
    tokenizer = Tokenizer.from_file(options["tokenizer"])
    tokenizer.enable_truncation(options["max_length"])
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(options["graph"], providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}

    def forward(rows: list[Encoding]) -> np.ndarray:
        """One padded batch: sentence vectors of length one, or logits."""
        width = max(len(row) for row in rows)
        feeds = {
            name: np.zeros((len(rows), width), dtype=np.int64)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        }
        for index, row in enumerate(rows):
            feeds["input_ids"][index, : len(row)] = row.ids
            feeds["attention_mask"][index, : len(row)] = 1
            feeds["token_type_ids"][index, : len(row)] = row.type_ids
        (output,) = session.run([options["output"]], {name: feeds[name] for name in wanted})
        if options["pairwise"]:
            return output
        mask = feeds["attention_mask"][:, :, None].astype(np.float32)
        vectors = (output * mask).sum(axis=1) / mask.sum(axis=1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def run(pairs: tuple[list[str], list[str]], batch_size: int) -> list[float]:
        references, outputs = pairs
        if options["pairwise"]:
            first, second = (outputs, references) if options["output_first"] else (references, outputs)
            return in_batches(tokenizer.encode_batch(list(zip(first, second))), batch_size, forward)[:, 0].tolist()
        vectors = [in_batches(tokenizer.encode_batch(texts), batch_size, forward) for texts in pairs]
        return (vectors[0] * vectors[1]).sum(axis=1).tolist()

    return run, versions("onnxruntime", "tokenizers")


def in_batches(rows: list[Encoding], batch_size: int, forward: Forward) -> np.ndarray:
    """Longest first, results in the order of the rows."""
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    found = [
        forward([rows[index] for index in order[begin : begin + batch_size]])
        for begin in range(0, len(order), batch_size)
    ]
    result = np.empty((len(rows), found[0].shape[1]), dtype=np.float32)
    result[order] = np.concatenate(found)
    return result


if __name__ == "__main__":
    serve(load)
