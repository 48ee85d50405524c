"""Folders that save_pretrained wrote load with the right weights in every family; incomplete ones
do not."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from transformer_lab.adapters.loading import _auto_class
from transformer_lab.files.paths import FileError
from transformer_lab.pretrained.weights import load_hugging_face

FAMILIES = [
    "gpt2",
    "gpt2-bare",
    "bert",
    "bert-bare",
    "bert-pretraining",
    "roberta",
    "distilbert",
    "electra",
    "albert",
    "llama",
    "llama-tied",
    "qwen3",
    "mistral",
    "gpt-neox",
    "gemma2",
    "opt",
    "marian",
    "bart",
    "t5",
    "bloom",
    "deberta",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_holds_the_model_or_is_refused(tiny, name, tmp_path):
    model = tiny(name)
    model.save_pretrained(tmp_path)
    loaded = load_hugging_face(tmp_path, _auto_class)
    assert loaded.random_weights == ()
    prefix = f"{model.base_model_prefix}."
    theirs = {n.removeprefix(prefix): v for n, v in model.state_dict().items()}
    own = {n.removeprefix(prefix): v for n, v in loaded.state_dict().items()}
    assert len(own.keys() & theirs.keys()) >= len(own) - 2, "all but a pooler's"
    for key in own.keys() & theirs.keys():
        assert torch.equal(own[key], theirs[key]), key
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    lost = next(n for n, value in tensors.items() if value.dim() == 2 and re.search(r"\.\d+\.", n))
    tensors[f"{lost}_old"] = tensors.pop(lost)
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(FileError, match=f"{lost} are missing; .*_old do not belong to the model"):
        load_hugging_face(tmp_path, _auto_class)
