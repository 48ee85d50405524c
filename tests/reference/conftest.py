"""The references talk much; nobody reads it."""

import logging

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def quiet():
    transformers = pytest.importorskip("transformers", reason="the extra `hub` is not installed")
    transformers.logging.set_verbosity_error()
    logging.getLogger("transformers").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
