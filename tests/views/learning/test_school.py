"""What a page asks a model that trains in it, under node; and invalid courses."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

import transformer_lab as tl
from transformer_lab.optim import AdamW
from transformer_lab.tokenizers import SPECIAL, CharTokenizer
from transformer_lab.training.objective import IGNORED
from transformer_lab.views.learning.page import Course

TESTS = Path(__file__).with_name("school.test.mjs")
SMALL = dict(vocab_size=7, n_layers=1, n_heads=2, d_model=8, n_ctx=8, tie_head=False)


def letters(**changed):
    """Texts a b a b …; each target is the next letter, and the last texts are held out."""
    tokens = 5 + (torch.arange(6) + torch.arange(40)[:, None]) % 2
    targets = 11 - tokens
    targets[:, 0] = IGNORED
    config = tl.ModelConfig(kind="decoder", **{**SMALL, **changed.pop("sizes", {})})
    options = dict(
        name="letters",
        title="Letters",
        words="",
        config=config,
        text="ababab",
        tokenizer=CharTokenizer((*SPECIAL, "a", "b")),
        tokens=tokens,
        targets=targets,
        answers=("next",),
        names=(*SPECIAL, "a", "b"),
        steps=120,
        batch=8,
        held_out=10,
        optimizer=AdamW(lr=0.05),
    )
    return Course(**{**options, **changed})


@pytest.mark.needs("node")
def test_a_school(tmp_path):
    block = letters().block
    (tmp_path / "info.json").write_text(json.dumps(block.info))
    for i, data in enumerate(block.buffers):
        (tmp_path / str(i)).write_bytes(data)
    environment = os.environ | {"TL_COURSE": str(tmp_path)}
    run = subprocess.run(
        ["node", "--test", TESTS], env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "# pass 4" in run.stdout


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            dict(sizes=dict(d_model=64, n_layers=2)),
            "it has .* weights, and a page trains fewer than 50,000",
        ),
        (dict(sizes=dict(dropout=0.1)), "dropout=0.1 draws random numbers"),
        (dict(sizes=dict(head=False)), "it has no head"),
        (dict(targets=torch.full((40, 6), IGNORED)), "every target of example 0 is -100"),
    ],
)
def test_a_course_that_no_page_teaches_is_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        letters(**changed)
