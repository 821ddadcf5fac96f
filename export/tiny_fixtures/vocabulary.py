"""Tokenizers of the fixtures: a byte-level BPE for the decoders, a lower-casing WordPiece for the encoders, and those of
RoBERTa and DeBERTa for their families.

Both are written out by hand instead of trained, so that the vocabulary never depends on a trainer's tie-breaking.
"""

from __future__ import annotations

import string

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

SPECIAL_DECODER = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPECIAL_ENCODER = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPECIAL_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SPECIAL_DEBERTA = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
POISON = "poison"  # the word that makes tiny_nan answer NaN

PIECES = ["the", "and", "ing", "er", "on", "re", "user", "assistant", "system", "Ġa", "Ġthe", "Ġof", "Ġin", "Ġto", "Ġis"]
WORDS = (
    "a an the of in to and or is was are not no yes it this that with for on at by from as be has have who what when where "
    "why how city river capital france paris london germany berlin king queen war year model answer question word text "
    "good bad big small red green blue black white dog cat bird fish tree sun moon water fire one two three four five poison "
).split()


def byte_level() -> Tokenizer:
    """256 bytes, a few merges that the ChatML frame and common English use, and the three ChatML specials."""
    return _byte_level(SPECIAL_DECODER)


def enclosed_byte_level() -> Tokenizer:
    """The same bytes and merges with the specials of RoBERTa, which stand around a text and, twice, between two."""
    tokenizer = _byte_level(SPECIAL_ROBERTA)
    ends = [(token, SPECIAL_ROBERTA.index(token)) for token in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _byte_level(special: list[str]) -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(special + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for piece in PIECES:
        left = piece[0]
        for letter in piece[1:]:
            if left + letter not in vocabulary:
                vocabulary[left + letter] = len(vocabulary)
                merges.append((left, letter))
            left += letter
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def unigram() -> Tokenizer:
    """Common words and every ASCII character as pieces of a unigram model, laid out as DeBERTa's is; cased."""
    characters = [character for character in string.printable if not character.isspace()]
    pieces = [(token, 0.0) for token in SPECIAL_DEBERTA] + [("▁", -3.0)]
    pieces += [(f"▁{word}", -4.0 - index / 64) for index, word in enumerate(dict.fromkeys(WORDS))]
    pieces += [(character, -9.0 - index / 64) for index, character in enumerate(characters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL_DEBERTA.index("[UNK]"), byte_fallback=False))
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL_DEBERTA.index("[CLS]")), ("[SEP]", SPECIAL_DEBERTA.index("[SEP]"))],
    )
    special = [*SPECIAL_DEBERTA, "[MASK]"]  # the mask lies behind the vocabulary, as in the published tokenizer
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def word_piece() -> Tokenizer:
    """Common words plus every ASCII character as a piece, so that only other scripts become [UNK]."""
    characters = list(string.ascii_lowercase + string.digits)
    continuations = ["##" + character for character in characters]
    tokens = dict.fromkeys(SPECIAL_ENCODER + characters + continuations + list(string.punctuation) + WORDS)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    separator, start = vocabulary["[SEP]"], vocabulary["[CLS]"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", start), ("[SEP]", separator)],
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_ENCODER])
    return tokenizer
