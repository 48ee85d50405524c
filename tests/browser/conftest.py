"""Fixtures for pages and JupyterLab; everything in this folder needs Chromium."""

from functools import partial
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from tests.browser.accessibility import accessible  # noqa: F401
from tests.browser.fixtures import map_of, notebook, open_page, screenshot  # noqa: F401
from tests.every_view import made  # noqa: F401
from tests.factories import FRENCH, WORDS, small


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.browser)


small_model = partial(small, sharpness=3.0, n_ctx=1200)


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
