"""The views' pure functions under node, and that both halves say the same."""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from transformer_lab.views.words import (
    Seen,
    cell_sentence,
    head_sentence,
    key_sentence,
    query_sentence,
)

FILES = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))


def sentences():
    """Maps of several shapes with what Python says of them."""
    generator = torch.Generator().manual_seed(2)
    cases = []
    for causal, sharpness, value_weighted in (
        (True, 1, False), (True, 9, False), (False, 0.1, False), (False, 30, False), (True, 3, True),
    ):  # fmt: skip
        scores = torch.randn(14, 14, generator=generator) * sharpness
        if causal:
            scores = scores.masked_fill(torch.ones(14, 14).triu(1).bool(), -torch.inf)
        # Few digits, so that both halves read the very same numbers.
        weights = (scores.softmax(-1) * 2**16).round() / 2**16
        tokens = [f"t{i}" for i in range(14)]
        seen = Seen("decoder", 1, 2, causal, tokens, tokens, causal, True, value_weighted)
        told = dataclasses.asdict(seen)
        told["valueWeighted"] = told.pop("value_weighted")
        for query, key in ((None, None), (0, None), (9, None), (9, 3), (2, 12), (0, 0), (None, 4)):
            if query is not None and key is not None:
                sentence = cell_sentence(seen, query, key, weights[query])
            elif query is not None:
                sentence = query_sentence(seen, query, weights[query])
            elif key is not None:
                sentence = key_sentence(seen, key, weights[:, key])
            else:
                sentence = head_sentence(seen, weights.__getitem__, 1000)
            cases.append(
                dict(seen=told, map=weights.tolist(), query=query, key=key, sentence=sentence)
            )
    return cases


@pytest.mark.skipif(
    shutil.which("node") is None, reason="NODE IS ABSENT: the JavaScript is untested"
)
def test_javascript(tmp_path):
    (tmp_path / "sentences.json").write_text(json.dumps(sentences()))
    environment = os.environ | {"TL_SENTENCES": str(tmp_path / "sentences.json")}
    run = subprocess.run(
        ["node", "--test", *map(str, FILES)],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
