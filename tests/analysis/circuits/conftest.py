"""Tiny models: Hugging Face's from tests/reference, and ours."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.factories import small
from tests.missing import package


@pytest.fixture
def tiny():
    """name -> a tiny model in eval mode, with noise on every parameter."""
    package("transformers")
    path = Path(__file__).parents[2] / "reference" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(name):
        torch.manual_seed(0)
        model = module.MAKERS[name]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture
def ours():
    """fields -> a Transformer of ours in eval mode, with noise on every parameter."""
    return partial(small, noise=0.3, vocab_size=20, n_layers=3)
