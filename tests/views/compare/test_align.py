"""Tokens are aligned in a page as difflib aligns them."""

import json
import random
import subprocess

import pytest

from transformer_lab.views.compare.data import align
from transformer_lab.views.shared.modules import VIEWS

pytestmark = pytest.mark.needs("node")


def test_a_page_aligns_tokens_as_python_does():
    draw = random.Random(3)
    pairs = [
        [draw.choices("abcd", k=draw.randrange(14)), draw.choices("abcde", k=draw.randrange(14))]
        for _ in range(400)
    ]
    pairs.append([list("abxcd" * 40), list("xabcd" * 40)])
    file = (VIEWS / "compare" / "align.js").as_uri()
    script = f"""
        const {{ align }} = await import({json.dumps(file)});
        let text = "";
        for await (const part of process.stdin) text += part;
        console.log(JSON.stringify(JSON.parse(text).map(([a, b]) => align(a, b))));
    """
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        input=json.dumps(pairs),
        capture_output=True,
        text=True,
        check=True,
    )
    for (a, b), found in zip(pairs, json.loads(ran.stdout), strict=True):
        wanted = align(a, b)
        assert found == {"names": wanted.names, "first": wanted.first, "second": wanted.second}
