"""A line of Python brings every view back to what was on view."""

import random
from contextlib import suppress

import pytest
import traitlets as t

import transformer_lab as tl
from tests.every_view import VIEWS

WORDS = (
    "token",
    "position",
    "scores",
    "paths",
    "attention",
    "denoising",
    "noising",
    "z",
    "k",
    "alibi",
)


def values_for(view, name, rng):
    """Something that this trait may take; what it refuses is not set."""
    trait, now = view.traits()[name], getattr(view, name)
    among = (view._results.get("_choices") or {}).get(name) or getattr(trait, "values", None)
    if among:
        return rng.choice(list(among))
    if name == "kind":
        return rng.choice(list(view.kinds) or [""])
    if isinstance(trait, t.Bool):
        return rng.random() < 0.5
    if isinstance(trait, t.Tuple):
        return rng.choice([None, tuple(sorted(rng.sample(range(6), 2)))])
    if isinstance(trait, t.List):
        return rng.choice([[], [(1, 0)], [(0, 1), (1, 0)], [(1, 0, 5, 2)], [2.0, 0.5, 1.0], [1]])
    if isinstance(trait, t.Unicode):
        return rng.choice(WORDS)
    if isinstance(now, float):
        return round(rng.random(), 3)
    return rng.randrange(6)


def change(view, rng):
    for name in rng.sample(view._may_choose(), len(view._may_choose())):
        with suppress(t.TraitError, ValueError):
            setattr(view, name, values_for(view, name, rng))


def state(view):
    """The reader's choices, and what a view has of texts and edits."""
    words = {name: getattr(view, name) for name in view._may_set() if name != "edits"}
    edits = [edit.code() for edit in getattr(view, "edits", ())]
    return view._about_file()["chosen"], words, edits, view.sentence


@pytest.mark.parametrize("name", VIEWS)
def test_a_line_brings_a_view_back(made, name):
    """After random choices, and more of them."""
    view, rng = made(name), random.Random(name)
    first = view.as_python
    seen = set()
    try:
        for _ in range(6):
            change(view, rng)
            line, before = view.as_python, state(view)
            assert "\n" not in line and line.startswith("view.restore(")
            change(view, rng)
            exec(line, {"tl": tl, "view": view})
            assert (view.as_python, state(view)) == (line, before)
            seen.add(line)
        assert len(seen) > 3
    finally:
        exec(first, {"tl": tl, "view": view})
    assert view.as_python == first


def test_texts_and_edits_are_in_the_line(made):
    view = tl.explore(tl.shipped(), 'say "héllo\n', edits=[tl.ablate(0, 1)])
    cut = tl.knock_out(1, 2, query=3, key=1)
    view.edits = [tl.ablate(0, 1), cut]
    view._options = {"hidden": [0]}
    line = view.as_python
    assert (
        'text="say \\"héllo\\n"' in line
        and cut.code() in line
        and 'options={"hidden": [0]}' in line
    )
    view.text, view.edits, view._options = "another", [], {}
    exec(line, {"tl": tl, "view": view})
    assert (view.text, view.as_python) == ('say "héllo\n', line)
    assert [edit.code() for edit in view.edits] == [tl.ablate(0, 1).code(), cut.code()]
    view.restore()
    assert view.edits == [] and view.text == 'say "héllo\n'
    view.close()


def test_a_name_that_is_no_choice_and_a_value_that_is_none_are_refused(made):
    view = made("HeadView")
    before = state(view)
    with pytest.raises(TypeError, match=r"HeadView.restore has no choice .*layer"):
        view.restore(layers=1)
    with pytest.raises(t.TraitError, match="layer=99 is outside"):
        view.restore(layer=99, head=1)
    assert state(view) == before
