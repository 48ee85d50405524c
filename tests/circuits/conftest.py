"""Tiny Hugging Face models, as tests/reference makes them."""

import importlib.util
from pathlib import Path

import pytest
import torch


@pytest.fixture
def tiny():
    """name -> a tiny model in eval mode, with noise on every parameter."""
    pytest.importorskip("transformers", reason="the extra `hub` is not installed")
    path = Path(__file__).parents[1] / "reference" / "conftest.py"
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
