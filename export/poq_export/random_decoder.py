"""A decoder with random weights, written straight as an ONNX export: for measuring speed where no weights can be had.

    python -m poq_export.random_decoder CONFIG.json OUT --precision bf16|f16|f32

CONFIG.json is the configuration of a published checkpoint. How fast a graph runs does not depend on its weights; what
this one answers means nothing. The same configuration and precision give the same bytes. Every matrix is drawn so that
activations keep their size from layer to layer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from .checkpoint import CheckpointError, Place, PlacedTensors, row_slices
from .decoder_graph import DecoderGraph
from .families import Description, describe
from .graph import EXTERNAL_DATA
from .precision import PRECISIONS, Precision
from .progress import say, size, step

POSITIONS = 8192  # the longest row by default, where the model has as many
# bits of a sign, an exponent and a mantissa: unsigned type, exponent's place, its bias, what is random
LAYOUTS = {"f32": (np.uint32, 23, 127, 0x807F_FFFF), "f16": (np.uint16, 10, 15, 0x83FF), "bf16": (np.uint16, 7, 127, 0x807F)}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class RandomTensors(PlacedTensors):
    """Tensors of a described model: norms are ones, the rest is drawn, each tensor from a seed that its name gives."""

    def __init__(self, places: dict[str, Place], precision: Precision) -> None:
        super().__init__(places)
        self._precision = precision

    def values(self, name: str) -> np.ndarray:
        """A tensor in f32."""
        return np.concatenate([piece.astype(np.float32) for piece in self.pieces(name, self._precision.dtype)])

    def pieces(self, name: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        """A tensor's rows, some at a time."""
        shape = self.shape(name)
        if name.endswith("norm.weight"):
            yield np.ones(shape, dtype)
            return
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        bits = np.random.PCG64(seed)
        for part in row_slices(slice(0, shape[0]), shape[1:]):
            yield self._drawn(bits, (part.stop - part.start, *shape[1:]), shape[-1]).view(dtype)

    def blocks(self, name: str) -> None:
        """Nothing is in blocks."""

    def _drawn(self, bits: np.random.PCG64, shape: tuple[int, ...], inputs: int) -> np.ndarray:
        """Numbers of random sign between a power of two and the next, their variance near one over `inputs`.

        The generator's raw bits become the mantissas as they are: drawing is then about as fast as writing to a disk.
        """
        kind, place, bias, random = LAYOUTS[self._precision.name]
        count = math.prod(shape)
        per_word = 8 // np.dtype(kind).itemsize
        words = bits.random_raw(-(-count // per_word)).view(kind)[:count]
        exponent = math.floor(math.log2(math.sqrt(3 / (7 * inputs))))  # of (1 + u) 2^e, u in [0, 1): 7/3 4^e
        words &= kind(random)
        words |= kind((exponent + bias) << place)
        return words.reshape(shape)


def placeholder_tokenizer(vocabulary: int) -> Tokenizer:
    """Bytes, three tokens of a chat and made-up words up to `vocabulary`, so that every id that comes can be decoded."""
    tokens = SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary < len(tokens):
        raise CheckpointError(f"a vocabulary of {vocabulary} does not hold the {len(tokens)} tokens of bytes")
    tokens += [f"Ġw{number}" for number in range(len(tokens), vocabulary)]
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def write(config: dict, out_dir: Path, precision: Precision, positions: int = POSITIONS) -> Description:
    """Write `model.onnx` with its weights beside it, `tokenizer.json` and `chat_template.jinja`."""
    out_dir.mkdir(parents=True, exist_ok=True)
    described = describe(config, longest(config, positions))
    tensors = RandomTensors(described.places, precision)
    builder = DecoderGraph(described.architecture, tensors, share_table=True, precision=precision)
    builder.build()
    builder.graph.save(out_dir / "model.onnx", external=True)
    placeholder_tokenizer(described.vocabulary).save(str(out_dir / "tokenizer.json"), pretty=False)
    (out_dir / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return described


def longest(config: dict, positions: int) -> int:
    """The longest row: what was asked for, as far as the model has positions; before they are stretched, if they are."""
    known = [config.get(name) for name in ("max_position_embeddings", "original_max_position_embeddings")]
    return min([positions, *(length for length in known if length)])


def main() -> int:
    """Exit code 0: written. 1: the configuration cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m poq_export.random_decoder", description=__doc__.split("\n\n")[0])
    parser.add_argument("config", type=Path, metavar="CONFIG.json")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder; made if it is not there")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bf16")
    parser.add_argument("--positions", type=int, default=POSITIONS, help="the longest row in tokens (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        config = json.loads(arguments.config.read_text(encoding="utf-8"))
        with step(f"drew a {config.get('model_type')} in {arguments.precision}") as details:
            described = write(config, arguments.out, PRECISIONS[arguments.precision], arguments.positions)
            count = sum(math.prod(place.shape) for place in described.places.values())
            details += [f"{count / 1e6:.0f} M parameters", size((arguments.out / EXTERNAL_DATA).stat().st_size)]
    except (CheckpointError, OSError, ValueError) as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
