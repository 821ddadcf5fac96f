"""Whether this machine's CUDA computes anything at all: tried on a graph of three nodes, before a model is fetched.

In processes of their own, whose end gives the card back.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import providers
from .providers import ProviderError

WIDTH = 64


def problems(evaluators: bool, torch: bool) -> list[str]:
    """What keeps ONNX Runtime from computing on the card, evaluators (which take cuDNN) and torch where they are wanted."""
    found = [_alone(_failure_of_onnxruntime, evaluators)]
    if torch and (reason := _alone(_failure_of_torch)):
        found.append(f"the reference is to be recorded on the card, where torch does not compute: {reason}")
    return [text for text in found if text]


def _alone(asked: Callable[..., str | None], *arguments: Any) -> str | None:
    """Ask in a process of its own: the libraries that torch and ONNX Runtime load need not get on with each other."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(asked, *arguments).result()
        except BrokenProcessPool:
            return "its process ended without a word; does `nvidia-smi` see the card?"


def _failure_of_onnxruntime(evaluators: bool) -> str | None:
    try:
        run(evaluators)
    except ProviderError as error:
        return str(error)
    return None


def _failure_of_torch() -> str | None:
    try:
        import torch

        torch.ones(1, device="cuda").add(1).item()
    except Exception as error:  # a driver's error has whatever type, and a library that does not load is an ImportError
        return str(error).strip().splitlines()[0]
    return None


def run(evaluators: bool, provider: str = "cuda") -> None:
    """A product, a sum and, for evaluators, an attention: cuBLAS, kernels of ONNX Runtime's own, cuDNN."""
    opened = providers.session(graph(evaluators).SerializeToString(), provider)
    if evaluators and provider == "cuda" and not providers.is_found(providers.CUDNN):
        absent = [providers.CUDNN]
        raise ProviderError(
            f"the loader does not find {providers.CUDNN}, with which ONNX Runtime computes the attention of evaluators; "
            f"{providers.source(absent)}"
        )
    try:
        opened.run(None, {"x": np.ones((1, 2, WIDTH), np.float32)})
    except Exception as error:
        reason = providers.failure_of_cuda(error) or str(error)
        raise ProviderError(f"ONNX Runtime does not compute on {provider}: {reason}") from None


def graph(attention: bool) -> onnx.ModelProto:
    """f32 [1, 2, WIDTH] to the same."""
    tensors = {"square": (WIDTH, WIDTH), "bias": (WIDTH,)}
    nodes = [helper.make_node("MatMul", ["x", "square"], ["product"]), helper.make_node("Add", ["product", "bias"], ["sum"])]
    if attention:
        tensors |= {"wide": (WIDTH, 3 * WIDTH), "wide_bias": (3 * WIDTH,)}
        wide = ["sum", "wide", "wide_bias"]
        nodes.append(helper.make_node("Attention", wide, ["seen"], domain="com.microsoft", num_heads=1))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, WIDTH])
    y = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [1, 2, WIDTH])
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in tensors.items()]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "trial", [x], [y], weights), opset_imports=opsets, ir_version=8)

