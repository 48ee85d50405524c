"""Hundreds of traces, edits and Explorers leak no memory."""

import gc
import os
from pathlib import Path

import pytest
from ipywidgets.widgets import widget

import transformer_lab as tl
from tests.factories import small
from transformer_lab.tokenizers import WordTokenizer

TEXT = "a b a b a"


@pytest.fixture(scope="module")
def model():
    tokenizer = WordTokenizer.train(TEXT)
    return tl.TextModel(small(vocab_size=tokenizer.vocab_size), tokenizer, "tiny")


def resident():
    """This process's resident memory in megabytes."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def trace(model):
    traced = tl.trace(model, TEXT)
    traced.pattern(0, 0)
    return traced


def edit(model):
    with tl.edit(model, tl.ablate(0, 0)):
        return trace(model)


def explorer(model):
    view = tl.views.Explorer(model, TEXT)
    view.close()
    return view


def grown(make, model, n, kept):
    """How many objects, megabytes and widgets were added after `n` calls."""

    def now():
        gc.collect()
        return len(gc.get_objects()), resident(), len(widget._instances)

    for _ in range(20):  # fill caches first
        make(model)
    before = now()
    for _ in range(n):
        kept.append(make(model))
        del kept[:-1]
    kept.clear()
    return [after - first for after, first in zip(now(), before, strict=True)]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize(("make", "n"), [(trace, 300), (edit, 300), (explorer, 100)])
def test_memory_is_where_it_was(model, make, n):
    objects, megabytes, widgets = grown(make, model, n, [])
    assert objects < n / 2  # one object per call would be a leak
    assert megabytes < 4
    assert widgets == 0


class Hoard(list):
    """A list that ignores deletions."""

    def __delitem__(self, index):
        pass

    def clear(self):
        pass


def test_a_leak_would_be_seen(model):
    objects, _, _ = grown(trace, model, 30, Hoard())
    assert objects > 30
