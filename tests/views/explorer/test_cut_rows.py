"""A page that cuts edges by itself computes the same rows as Python's edit, also with sinks."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

import transformer_lab as tl
from tests.adapters.families import ours, text, tiny

JS = Path(__file__).parents[1] / "js" / "explorer_edits.test.mjs"


def rows_of(trace):
    return {"rows": trace.pattern(0, 1).tolist(), "nothing": trace.to_nothing(0, 1).tolist()}


@pytest.mark.needs("node")
@pytest.mark.parametrize("name", ["gpt_oss", "llama"])
def test_cut_rows_are_those_of_the_edit(name, tmp_path):
    model = tiny(name)
    given = ours(text(model))
    before = tl.trace(model, **given)
    assert before.has_sinks(0) == (name == "gpt_oss")
    n, draw = before.shape()[0], random.Random(4)
    reached = before.pattern(0, 1).nonzero().tolist()  # a window hides the rest
    spots = [(query, key) for query, key in [*reached, *((query, None) for query in range(n))]]
    spots += [(None, key) for key in range(1, n)]
    whole = [(3, key) for key in range(4)]  # every edge of a row, one by one
    cases = []
    for cuts in (whole, *(draw.sample(spots, k) for k in (1, 1, 2, 3, 5, 9))):
        edits = [tl.knock_out(0, 1, query=query, key=key) for query, key in cuts]
        with tl.edit(model, *edits):
            after = tl.trace(model, **given)
        edges = [{"query": query, "key": key} for query, key in cuts]
        cases.append({"cuts": edges, "before": rows_of(before), "after": rows_of(after)})
    (tmp_path / "cuts.json").write_text(json.dumps(cases))
    run = subprocess.run(
        ["node", "--test", str(JS)],
        env=os.environ | {"TL_CUTS": str(tmp_path / "cuts.json")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
