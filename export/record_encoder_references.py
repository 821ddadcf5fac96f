"""Records what the reference implementations answer, once, so that the parity gate needs neither torch nor transformers.

    python export/record_encoder_references.py --wheels FOLDER [KEY ...]

FOLDER is where the wheels named in models/registry.toml were extracted. Writes export/references/<key>.json, which the
gate reads, and tests/expected/<key>_scores.json, which the tests of the engine read. Needs torch, transformers and
sentence-transformers; everything recorded is tied to the sha256 of the weights it came from.

For a model published as weights the reference is sentence-transformers, or transformers if it classifies; so it is for
a whole published checkpoint, of which FOLDER has to hold one folder per model, named by its key. For a model published only as an ONNX graph
there is nothing but the graph: its reference is ONNX Runtime's Python API fed by transformers' tokenizer, row by row;
unless the export changes the graph, when it is transformers' implementation with the graph's weights.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from poq_export import drift, registry
from poq_export.fetch import sha256
from poq_export.registry import Model, PackageSource
from poq_export.untrained import untrained_head
from reference_texts import pairs, single_texts

ROOT = Path(__file__).resolve().parents[1]
PAIRS = {"sts_minilm_l6": 60, "sts_minilm_l3": 30, "ce_nli_deberta": 30, "ce_minilm_untrained": 30}
GATE_PAIRS = 40

Row = tuple[list[int], list[int], list[float]]  # token ids, type ids, sentence vector or logits
Reference = Callable[..., Row]


def versions(*packages: str) -> str:
    """`torch 2.15.0, …` as it is written into the files."""
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)


def sentence_transformer(model: Model, paths: dict[str, Path]) -> tuple[str, Reference]:
    """sentence-transformers in float32 on the CPU, one text at a time."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder = published_folder(paths)
    encoder = SentenceTransformer(folder.name, device="cpu").to(torch.float32)
    if encoder.max_seq_length != model.max_length:
        raise SystemExit(f"{model.key}: the published length is {encoder.max_seq_length}, max_length says {model.max_length}")

    def answer(text: str) -> Row:
        tokens = encoder.tokenizer(text, truncation=True, max_length=model.max_length)
        (vector,) = encoder.encode([text], convert_to_numpy=True, normalize_embeddings=True)
        types = tokens.get("token_type_ids", [0] * len(tokens["input_ids"]))
        return tokens["input_ids"], types, vector.tolist()

    return f"{versions('sentence-transformers', 'transformers', 'torch')}; float32, CPU, one text at a time", answer


def sequence_classifier(model: Model, paths: dict[str, Path]) -> tuple[str, Reference]:
    """transformers in float32 on the CPU, one pair at a time; with the drawn head where the model asks for it."""
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(paths["tokenizer.json"]), pad_token="[PAD]")
    labels = max(1, len(model.scoring.labels or []))
    with published_folder(paths) as folder:
        network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels, dtype=torch.float32).eval()
    if model.export.head == "untrained":
        weight, bias = untrained_head(network.config.hidden_size, labels)
        network.classifier.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})

    def answer(*texts: str) -> Row:
        lists = [[text] for text in texts]  # outside a list, an empty second text counts as none
        tokens = tokenizer(*lists, truncation=True, max_length=model.max_length, return_token_type_ids=True, padding=False)
        feeds = {name: torch.tensor(tokens[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
        with torch.no_grad():
            logits = network(**feeds).logits[0]
        return tokens["input_ids"][0], tokens["token_type_ids"][0], logits.tolist()

    head = "a drawn head" if model.export.head == "untrained" else "its head"
    used = versions("transformers", "torch")
    return f"{used}: {type(network).__name__} with {head}; float32, CPU, row by row", answer


def published_folder(paths: dict[str, Path]) -> tempfile.TemporaryDirectory:
    """The artifacts under the names they were published by, wherever they lie; gone with what is returned."""
    folder = tempfile.TemporaryDirectory()
    for name, path in paths.items():
        target = Path(folder.name) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
    return folder


def published_weights(model: Model, paths: dict[str, Path]) -> tuple[str, Reference]:
    """The reference of a model published as weights."""
    return (sequence_classifier if model.architecture == "cross_encoder" else sentence_transformer)(model, paths)


def published_graph(model: Model, paths: dict[str, Path]) -> tuple[str, Reference]:
    """transformers' fast tokenizer and ONNX Runtime on the published graph, one row at a time.

    The tokenizer is loaded from tokenizer.json itself: AutoTokenizer of transformers 5 rebuilds a DeBERTa tokenizer
    from its vocabulary and loses the published normalizer, so that full-width letters become unknown tokens.
    """
    import onnxruntime
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(paths["tokenizer.json"]), pad_token="[PAD]")
    session = onnxruntime.InferenceSession(str(paths["model.onnx"]), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    padding = "max_length" if model.fixed_length else False

    def answer(*texts: str) -> Row:
        tokens = tokenizer(*texts, truncation=True, max_length=model.max_length, return_token_type_ids=True, padding=padding)
        feeds = {name: np.array([tokens[name]], dtype=np.int64) for name in names}
        output = session.run([model.scoring.output], feeds)[0][0]
        if model.architecture == "bi_encoder":
            output = output / np.linalg.norm(output)
        used = sum(tokens["attention_mask"])
        return tokens["input_ids"][:used], tokens["token_type_ids"][:used], output.tolist()

    used = versions("onnxruntime", "transformers")
    return f"{used}: the ONNX graph is published as it is, so its reference is ONNX Runtime's Python API, row by row", answer


def dequantized_graph(model: Model, paths: dict[str, Path]) -> tuple[str, Reference]:
    """transformers' own implementation with the published graph's weights: nothing of the graph but its numbers."""
    import deberta_reference
    import torch
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(paths["tokenizer.json"]), pad_token="[PAD]")
    network = deberta_reference.load(paths["model.onnx"])

    def answer(*texts: str) -> Row:
        tokens = tokenizer(*texts, truncation=True, max_length=model.max_length, return_token_type_ids=True, padding=False)
        feeds = {name: torch.tensor([tokens[name]]) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            logits = network(**feeds).logits[0]
        return tokens["input_ids"], tokens["token_type_ids"], logits.tolist()

    used = versions("transformers", "torch")
    return f"{used}: DebertaV2 with the graph's dequantised weights; float32, CPU, row by row", answer


REFERENCES = {
    "bert_encoder": published_weights,
    "checkpoint_encoder": published_weights,
    "copy_onnx": published_graph,
    "dequantize_onnx": dequantized_graph,
}


def artifact_paths(model: Model, wheels: Path) -> dict[str, Path]:
    """The artifacts inside the extracted wheels, each held to its hash."""
    paths = {}
    for artifact in model.artifact:
        source = artifact.source[0]
        path = wheels / (source.parts[0].file if isinstance(source, PackageSource) else f"{model.key}/{artifact.name}")
        if sha256(path) != artifact.sha256:
            raise SystemExit(f"{model.key}: {path.name} is not the file that the registry describes")
        paths[artifact.name] = path
    return paths


def rounded(values: list[float]) -> list[float]:
    return [round(value, 7) for value in values]


def in_order(model: Model, pair: tuple[str, str]) -> tuple[str, str]:
    """A (reference, output) pair as a cross-encoder reads it."""
    return pair[::-1] if model.scoring.order == "output_reference" else pair


def gate_inputs(model: Model, answer: Reference) -> list[dict]:
    """What the parity gate compares: token ids and outputs."""
    found = []
    if model.architecture == "cross_encoder":
        for pair in pairs(GATE_PAIRS):
            first, second = in_order(model, pair)
            ids, types, logits = answer(first, second)
            found.append({"first": first, "second": second, "ids": ids, "type_ids": types, "output": rounded(logits)})
        return found
    for text in single_texts():
        ids, _, vector = answer(text)
        found.append({"text": text, "ids": ids, "output": rounded(vector)})
    return found


def scored_pairs(model: Model, answer: Reference) -> list[dict]:
    """What the tests of the engine compare: the score of a (reference, output) pair."""
    found = []
    for reference, output in pairs(PAIRS[model.key]):
        row: dict = {"reference": reference, "output": output}
        if model.architecture == "cross_encoder":
            logits = np.array(answer(*in_order(model, (reference, output)))[2])
            (score,) = drift.head(logits[None], model.scoring)
            row |= {"logits": rounded(logits.tolist()), "score": round(float(score), 7)}
        else:
            first, second = (np.array(answer(text)[2]) for text in (reference, output))
            row["score"] = round(float(first @ second), 7)
        found.append(row)
    return found


def described_score(model: Model) -> str:
    """What the score of a pair is."""
    if model.architecture != "cross_encoder":
        return "cosine of the sentence vectors"
    first = "output" if model.scoring.order == "output_reference" else "reference"
    what = f"P({model.scoring.target})" if model.scoring.head == "probability" else model.scoring.head
    return f"{what}, first text = {first}"


def write(path: Path, document: dict, rows: str) -> None:
    """JSON with one row to a line: small enough to commit, and a changed row shows as one changed line."""
    head = {name: value for name, value in document.items() if name != rows}
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in document[rows])
    text = json.dumps(head, indent=1, ensure_ascii=False)[:-2] + f',\n "{rows}": [\n  {lines}\n ]\n}}\n'
    json.loads(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(document[rows])} rows, {path.stat().st_size} bytes")


def record(model: Model, wheels: Path) -> None:
    """Both files of one model."""
    description, answer = REFERENCES[model.export.recipe](model, artifact_paths(model, wheels))
    head = {
        "schema_version": 1,
        "key": model.key,
        "reference": description,
        "artifacts": {artifact.name: artifact.sha256 for artifact in model.artifact},
        "max_length": model.max_length,
    }
    write(ROOT / "export/references" / f"{model.key}.json", head | {"inputs": gate_inputs(model, answer)}, "inputs")
    scores = head | {"score": described_score(model), "pairs": scored_pairs(model, answer)}
    write(ROOT / "tests/expected" / f"{model.key}_scores.json", scores, "pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the extracted wheels")
    parser.add_argument("keys", nargs="*", help=f"default: {' '.join(PAIRS)}")
    arguments = parser.parse_args()
    known = registry.load(ROOT / "models/registry.toml")
    for model in known.select(None, arguments.keys or list(PAIRS)):
        record(model, arguments.wheels)


if __name__ == "__main__":
    main()
