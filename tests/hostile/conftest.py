"""The browser fixtures of tests/browser, for hostile text, and those of homework."""

import shutil
from pathlib import Path

import pytest

from tests.browser.fixtures import map_of, open_page  # noqa: F401
from tests.hostile.homework import course, hand_in  # noqa: F401


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    from tests.hostile.hub_folders import gpt2, kept  # others need no transformers

    return kept(gpt2(), tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A small GPT-2 as Hugging Face's libraries write it."""
    return Path(shutil.copytree(original, tmp_path / "tiny"))
