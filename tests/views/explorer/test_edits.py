"""What a browser receives about edits: it parses none by itself."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import transformer_lab as tl
from transformer_lab.edits.kinds import Edit
from transformer_lab.views.explorer.edits import Edits

KINDS = {
    kind: {
        "query_tokens": ["<b>", "it", 'a "quoted" $& one'],
        "key_tokens": ["<b>", "it", "870001"],
    }
    for kind in ("decoder", "cross")
}


@dataclass(frozen=True, repr=False)
class Toy(Edit):
    """A kind of edit unknown to every script."""

    strength: float = 1.0
    name = "toy"

    def _what(self) -> str:
        return f"toyed with by {self.strength}"


def test_a_kind_that_no_script_has_heard_of_has_words_code_and_an_identity(monkeypatch):
    from transformer_lab.edits import constructors

    monkeypatch.setitem(
        constructors._PLAIN,
        "toy",
        (
            lambda **v: Toy(v.get("layer"), v.get("head"), v.get("kind"), strength=v["strength"]),
            ("layer", "head", "kind", "strength"),
        ),
    )
    changes = Edits()
    values = changes.dicts(
        [Toy(1, 2, strength=2.0), Toy(1, 2, strength=3.0), Toy(1, 2, strength=2.0)]
    )
    one, other, again = changes.sent(values, KINDS)
    assert one["words"] == "layer 1, head 2: toyed with by 2.0"
    assert one["code"] == "tl.toy(layer=1, head=2, strength=2.0)"
    assert one["does"] == "other" and one["alone"] is None
    assert one["id"] == again["id"] != other["id"]
    assert changes.dicts([one]) == changes.dicts([again]) == values[:1]


def test_the_same_edit_has_one_identity_however_its_kind_was_said():
    changes = Edits()
    values = changes.dicts(
        [tl.ablate(1, 2), tl.ablate(1, 2, kind="decoder"), tl.ablate(1, 2, kind="cross")]
    )
    ids = [one["id"] for one in changes.sent(values, KINDS)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.needs("node")
def test_edits_made_by_hand_are_those_that_python_would_send(tmp_path):
    changes = Edits()

    def sent(edit):
        return changes.sent(changes.dicts([edit]), KINDS)[0]

    heads, cuts = [], []
    expert = {"at": {"kind": "decoder", "layer": 1, "expert": 3}}
    expert["sent"] = sent(tl.skip(1, "mlp", expert=3))
    for kind in KINDS:
        side = {} if kind == "decoder" else {"kind": kind}
        at = {"kind": kind, "layer": 1, "head": 2}
        heads.append({"at": at, "sent": sent(tl.ablate(1, 2, **side))})
        for scope, where in (
            ("head", {"layer": 1, "head": 2}),
            ("layer", {"layer": 1}),
            ("all", {}),
        ):
            for query, key in ((1, 0), (2, None), (None, 2), (2, 2)):
                edge = {n: v for n, v in (("query", query), ("key", key)) if v is not None}
                cut = sent(tl.knock_out(**where, **edge, **side))
                cuts.append(
                    {"at": at, "edge": {"query": query, "key": key}, "scope": scope, "sent": cut}
                )
    given = {"kinds": KINDS, "heads": heads, "cuts": cuts, "expert": expert}
    (tmp_path / "edits.json").write_text(json.dumps(given))
    script = Path(__file__).parent.parent / "js" / "explorer_edits.test.mjs"
    run = subprocess.run(
        ["node", "--test", str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TL_EDITS": str(tmp_path / "edits.json")},
    )
    assert run.returncode == 0 and "# skipped 0" in run.stdout, run.stdout[-4000:]
