"""Fixtures for pages and JupyterLab; everything in this folder needs Chromium."""

import importlib.util
from pathlib import Path

import pytest
import torch

import transformer_lab as tl

_spec = importlib.util.spec_from_file_location("fixtures", Path(__file__).with_name("fixtures.py"))
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)
browser, open_page, map_of, screenshot = (
    _fixtures.browser,
    _fixtures.open_page,
    _fixtures.map_of,
    _fixtures.screenshot,
)
lab, notebook = _fixtures.lab, _fixtures.notebook
_spec = importlib.util.spec_from_file_location(
    "accessibility", Path(__file__).with_name("accessibility.py")
)
_accessibility = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_accessibility)
accessible = _accessibility.accessible

WORDS = [
    "The",
    "animal",
    "did",
    "n't",
    "cross",
    "the",
    "street",
    "because",
    "it",
    "was",
    "too",
    "tired",
    ".",
]
FRENCH = ["<s>", "L'", "animal", "n'", "a", "pas", "traversé", "la", "rue"]


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)


def small_model(kind="decoder", sharpness=3.0, **options):
    torch.manual_seed(0)
    settings = dict(vocab_size=50, n_layers=2, n_heads=4, d_model=32, n_ctx=1200) | options
    model = tl.Transformer(tl.ModelConfig(kind=kind, **settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "query" in name or "key" in name:
                parameter.mul_(sharpness)
    return model


@pytest.fixture(scope="session")
def trace():
    model = small_model(n_layers=4)
    return tl.trace(model, torch.arange(len(WORDS)), labels=WORDS)


@pytest.fixture(scope="session")
def translation():
    model = small_model("encoder-decoder", n_heads=8)
    ids, target = torch.arange(len(WORDS)), torch.arange(len(FRENCH))
    mask = torch.ones(1, len(WORDS), dtype=torch.bool)
    mask[0, -1] = False
    return tl.trace(model, ids, target, mask=mask, labels=WORDS, target_labels=FRENCH)


@pytest.fixture(scope="session")
def long_trace():
    model = small_model(n_layers=4, n_heads=8, d_model=64, sharpness=1.5)
    labels = [WORDS[i % len(WORDS)] for i in range(600)]
    return tl.trace(model, torch.arange(600) % 50, labels=labels)
