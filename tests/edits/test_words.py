"""How edits are written in Python and in JSON; edits that fit nothing are named."""

import json

import pytest
import torch

import transformer_lab as tl
from tests.edits.scenes import build, inputs, other_run, reference
from transformer_lab.edits.constructors import edit_from_dict
from transformer_lab.edits.kinds import EditError

# -- how edits are written -------------------------------------------------------------------------

PLAIN = {
    "tl.ablate(layer=1, head=2)": tl.ablate(1, 2),
    'tl.ablate(layer=1, head=2, value="mean", kind="cross")': tl.ablate(
        1, 2, kind="cross", value="mean"
    ),
    "tl.ablate()": tl.ablate(),
    "tl.knock_out(layer=1, head=0, query=5, key=3)": tl.knock_out(1, 0, query=5, key=3),
    "tl.knock_out(query=0)": tl.knock_out(query=0),
    'tl.scale(layer=0, by=0.5, kind="encoder")': tl.scale(0, by=0.5, kind="encoder"),
    'tl.skip(layer=3, part="mlp")': tl.skip(3, "mlp"),
    'tl.skip(layer=3, part="mlp", expert=1)': tl.skip(3, "mlp", expert=1),
}


@pytest.mark.parametrize("code", PLAIN)
def test_an_edit_says_the_python_that_makes_it(code):
    edit = PLAIN[code]
    assert edit.code() == repr(edit) == code
    assert repr(eval(code, {"tl": tl})) == code
    assert repr(edit_from_dict(json.loads(json.dumps(edit.to_dict())))) == code
    assert len(edit.describe()) > 10 and "None" not in edit.describe()


def test_an_edit_that_holds_tensors_says_so_and_has_no_json():
    model = build()
    trace = other_run(model)
    edit = tl.patch(trace, 1, 2, position=3)
    assert edit.code() == "tl.patch(source_trace, layer=1, head=2, position=3)"
    assert repr(eval(edit.code(), {"tl": tl, "source_trace": trace})) == edit.code()
    for held in (edit, tl.ablate(1, value=torch.ones(8)), tl.ablate(1, value=reference(model))):
        with pytest.raises(EditError, match="must be a text or a number"):
            held.to_dict()


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("ablate", ["a dict", "str"]),
        ({}, ["edit must", "ablate", "got None"]),
        ({"edit": "patch"}, ["'patch'", "knock_out"]),
        ({"edit": ["ablate"]}, ["['ablate']"]),
        ({"edit": "ablate", "layers": 1}, ["'layers'", "layer"]),
        ({"edit": "ablate", "layer": "1"}, ["layer must", "whole number", "got '1'"]),
        ({"edit": "ablate", "layer": True}, ["layer must", "whole number", "got True"]),
        ({"edit": "ablate", "value": [0.0]}, ["value of ablate must", "got [0.0]"]),
        ({"edit": "ablate", "value": "noise"}, ["'noise'", "mean"]),
        ({"edit": "ablate", "kind": "self"}, ["'self'", "encoder"]),
        ({"edit": "knock_out", "layer": 1}, ["query or key"]),
        ({"edit": "scale", "layer": 1}, ["scale needs by"]),
        ({"edit": "scale", "by": float("nan")}, ["by must", "finite", "got nan"]),
        ({"edit": "skip", "part": "norm"}, ["'norm'", "mlp"]),
    ],
)
def test_what_a_browser_asks_for_is_checked(values, words):
    with pytest.raises(EditError) as error:
        edit_from_dict(values)
    assert all(word in str(error.value) for word in words), error.value


def test_an_edit_is_gone_after_an_error():
    model = build()
    with pytest.raises(RuntimeError, match="boom"), tl.edit(model, tl.ablate(0, 0)):
        raise RuntimeError("boom")
    assert all(m.taps == () for m in model.tapped())


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tl.ablate(9, 0), ["layer=9", "0 … 1"]),
        (lambda: tl.ablate(0, 9), ["head=9", "0 … 3"]),
        (lambda: tl.ablate(0, 0, kind="cross"), ["'cross'", "decoder"]),
        (lambda: tl.ablate(0, 0, kind="self"), ["'self'", "encoder", "cross"]),
        (lambda: tl.ablate(0, 0, value="noise"), ["'noise'", "zero", "mean"]),
        (lambda: tl.knock_out(0, 0), ["query or key", "ablate"]),
        (lambda: tl.knock_out(0, 0, key=99), ["key=99", "7 tokens", "0 … 6"]),
        (lambda: tl.knock_out(0, 0, query=2, key=5), ["query=2", "key=5", "comes after"]),
        (lambda: "ablate head 3", ["'ablate head 3'", "tl.ablate"]),
        (lambda: tl.ablate("last"), ["layer must", "whole number", "got 'last'"]),
        (lambda: tl.scale(0, 0, by="half"), ["by must", "got 'half'", "0.5"]),
        (lambda: tl.scale(5, by=2), ["layer=5", "0 … 1"]),
        (lambda: tl.skip(5), ["layer=5", "0 … 1"]),
        (lambda: tl.skip(0, "norm"), ["part must", "mlp", "got 'norm'"]),
        (lambda: tl.skip(0, "mlp", kind="cross"), ["mlp", "decoder"]),
        (lambda: tl.skip(0, expert=1), ["expert=1", "part='mlp'"]),
        (lambda: tl.skip(0, "mlp", expert=1), ["no experts", "whole"]),
        (lambda: tl.patch(None, 0), ["NoneType", "keep='all'"]),
        (lambda: tl.patch(kept("maps"), 0), ["keep='all'"]),
        (lambda: tl.patch(kept(), 7), ["layer=7", "0 … 1"]),
        (lambda: tl.patch(kept(), 0, 9), ["head=9", "0 … 3"]),
        (lambda: tl.patch(kept(), 0, what="mlp"), ["what must", "resid_pre", "got 'mlp'"]),
        (lambda: tl.patch(kept(), 0, 1, what="resid_pre"), ["head=1", "resid_pre"]),
        (lambda: tl.patch(kept(), 0, position=9), ["position=9", "7 tokens", "0 … 6"]),
        (lambda: tl.patch(kept(), 0, position=-1), ["position=-1", "0 … 6"]),
        (lambda: tl.patch(kept(), 0, kind="encoder"), ["'encoder'"]),
        (lambda: tl.patch(kept(n=5), 0), ["5 tokens", "this text has 7", "position"]),
        (lambda: tl.patch(kept(batch=3), 0), ["3 texts", "this batch has 2"]),
        (lambda: tl.patch(kept(d_model=64), 0), ["16", "same architecture"]),
        (lambda: tl.patch(kept(d_model=64), 0, what="resid_post"), ["d_model=64", "32"]),
        (lambda: tl.ablate(0, value=reference(build(n_layers=3))), ["3 layers", "2 of 4"]),
    ],
)
def test_an_edit_that_fits_nothing_is_named(make, words):
    model = build()
    with pytest.raises(EditError, match=r".+") as error, tl.edit(model, make()):
        model(*inputs(model))
    assert all(word in str(error.value) for word in words), error.value
    assert all(m.taps == () for m in model.tapped())


def kept(keep="all", n=7, batch=2, **options):
    text = torch.arange(1, 1 + batch * n).view(batch, n)
    return tl.trace(build(**options), text, keep=keep)


@pytest.mark.badinput
@torch.no_grad()
def test_what_is_not_there_is_named():
    model = build("decoder-attention-only")
    with pytest.raises(EditError, match="attention only"), tl.edit(model, tl.skip(0, "mlp")):
        pass
    model = build()
    with (
        pytest.raises(EditError, match=r"value='mean'.*mean_of"),
        tl.edit(model, tl.ablate(0, 0, value="mean")),
    ):
        model(torch.tensor([[5]]))  # the mean over one token is that token
    assert all(m.taps == () for m in model.tapped())
    with pytest.raises(EditError, match="texts holds no text"):
        tl.mean_of(model, [])
    with pytest.raises(EditError, match="most=20"):
        tl.mean_of(model, tl.datasets.reverse().batches(2))
