"""`tokenizer.json` from the vocabulary and merges in a GGUF file.

GGUF names the way text is cut up before the merges (`tokenizer.ggml.pre`) but does not say what that way is; the
published tokenizers do, and each is restated here.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from .gguf_file import GgufError, GgufFile

# token types in the metadata
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5

QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # English contractions
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # a word with the character before it
    r"|\p{N}"  # one digit at a time
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation, with line ends that follow
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"  # white space, leaving one space to the next word
)


def _smollm(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])


def _qwen2(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


PRE_TOKENIZERS: dict[str, Callable[[Tokenizer], None]] = {"smollm": _smollm, "qwen2": _qwen2}


def build(file: GgufFile) -> Tokenizer:
    """A byte-level BPE tokenizer with the file's special tokens."""
    kind, pre = file.require("tokenizer.ggml.model"), file.require("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in PRE_TOKENIZERS:
        raise GgufError(f"tokenizer `{kind}`/`{pre}` is not one of gpt2/{', gpt2/'.join(PRE_TOKENIZERS)}")
    tokens, types = file.require("tokenizer.ggml.tokens"), file.require("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in file.require("tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens) if types[number] != UNUSED}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    PRE_TOKENIZERS[pre](tokenizer)
    tokenizer.decoder = decoders.ByteLevel()
    added = [number for number, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED)]
    tokenizer.add_tokens([_added(tokens[number], types[number]) for number in added])
    return tokenizer


def _added(token: str, kind: int) -> AddedToken:
    """Control tokens are left out of decoded text; user-defined ones are ordinary text that is never cut."""
    return AddedToken(token, special=kind == CONTROL, normalized=False)
