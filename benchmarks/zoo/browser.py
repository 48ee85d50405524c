"""Whether the page of an architecture computes what PyTorch does, in a real browser: a text that is
typed into it, then in its own engine every head off and an edge of each layer cut."""

from __future__ import annotations

import html
import json
import re
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch

import transformer_lab as tl
from transformer_lab.edits.constructors import edit_from_dict
from transformer_lab.edits.kinds import EditError

from .. import browser as chromium
from .building import Architecture, NotBuilt, build
from .examine import Result, _quiet, told
from .measures import reader, texts

AGREES, REFUSED, DIFFERS = "agrees", "refused", "DIFFERS"
CLOSE = 1e-4  # in probability
TYPED = "w7 w30 w12 w3 w7 w30 w9 w21"

# Loads the model that the page carries into the page's engine, and asks about a text under edits.
ASK = """async ([blocks, text, target, masked, lists, position]) => {
  const block = async (name) => {
    const { sizes, info, gzip, data } = blocks[name];
    let bytes = Uint8Array.from(atob(data), (x) => x.charCodeAt(0));
    if (gzip) {
      const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      bytes = new Uint8Array(await new Response(whole).arrayBuffer());
    }
    let at = 0;
    return { info, parts: sizes.map((n) => bytes.slice(at, (at += n))) };
  };
  const text_of = (bytes) => new TextDecoder().decode(bytes);
  const source = new Blob([text_of((await block("engine")).parts[0])], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(source));
  const waiting = new Map();
  worker.onmessage = ({ data: { id, value, error, part } }) =>
    part === undefined && id && (error ? waiting.get(id)[1](new Error(error)) : waiting.get(id)[0](value));
  let last = 0;
  const ask = (question) => new Promise((...ends) => {
    waiting.set(++last, ends);
    worker.postMessage({ id: last, question });
  });
  const { info, parts } = await block("model");
  await ask({ ask: "load", ...JSON.parse(text_of(parts[0])), weights: parts[1], check: info.check, checksum: info.checksums[1] });
  await ask({ ask: "read", text, target, masked });
  const found = [];
  for (const edits of lists) found.push((await ask({ ask: "predict", edits, position })).rows);
  worker.terminate();
  return found;
}"""


@cache
def _browser() -> Any:
    from playwright.sync_api import sync_playwright

    return chromium.launch(sync_playwright().start())


def agrees_in_browser(one: Architecture) -> Result:
    """Compare an architecture's page with PyTorch. Raises nothing; `errors` has the largest
    difference in probability, and how many edits were compared."""
    started = time.perf_counter()
    result = Result(one.name, one.made, REFUSED)
    with warnings.catch_warnings(), torch.random.fork_rng(), _quiet():
        warnings.simplefilter("ignore")
        try:
            model = build(one)
            text_model = reader(model)
            both = text_model.kind == "encoder-decoder"
            view = tl.views.Explorer(text_model, *texts(both))
            page = view.to_html(model=True, precision="float32")
            result.errors = _compared(view, page)
            result.verdict = AGREES if result.errors["apart"] <= CLOSE else DIFFERS
        except (NotBuilt, ValueError) as error:
            result.why = told(error)
        except Exception as error:
            result.verdict, result.why = DIFFERS, told(error)
    result.seconds = round(time.perf_counter() - started, 1)
    return result


def _compared(view: Any, text: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(text, "utf-8")
        page = _browser().new_page()
        try:
            page.goto(path.as_uri())
            page.wait_for_selector("[data-ready]")
            worst = _typed(view, page)
            lists = [[]] + [[one] for one in _edits(view)]
            position = view.session.outcome.position
            target = view.target if view.text_model.kind == "encoder-decoder" else None
            given = [_blocks(text), view.text, target, list(view.masked), lists, position]
            found = page.evaluate(ASK, given)
        finally:
            page.close()
    compared = 0
    for edits, rows in zip(lists, found, strict=True):
        try:
            view.edits = [edit_from_dict(one) for one in edits]
        except (EditError, ValueError):
            continue  # it fits nothing, or the model allows no edits
        compared += bool(edits)
        mine = {row.id: row for row in view.session.outcome.rows}
        for row in rows:
            if row["id"] in mine:
                for side in ("before", "after") if edits else ("before",):
                    worst = max(worst, abs(row[side] - getattr(mine[row["id"]], side)))
    return {"apart": float(f"{worst:.1e}"), "edits": float(compared)}


def _blocks(text: str) -> dict[str, Any]:
    """The engine and the model as the page holds them."""
    pattern = r'<template data-block="(engine|model)" data-info="([^"]*)"( data-gzip=1)? data-sum="\d+">([^<]*)<'
    return {
        name: {**json.loads(html.unescape(info)), "gzip": bool(gzip), "data": data}
        for name, info, gzip, data in re.findall(pattern, text)
    }


def _typed(view: Any, page: Any) -> float:
    """The largest difference of the predictions after another text was typed."""
    typed = TYPED if view.text_model.kind != "encoder" else TYPED.replace("w12", "<mask>")
    page.locator("[data-part=text]").fill(typed)
    stamp = page.locator("[data-stamp]").get_attribute("data-stamp")
    page.locator("[data-part=text]").press("Enter")
    page.wait_for_function(
        "was => { const d = document.querySelector('[data-stamp]').dataset;"
        " return d.stamp !== was && d.settled === 'true'; }",
        arg=stamp,
    )
    view.text = typed
    shown = page.locator("[data-part=predictions] tbody tr").evaluate_all(
        "all => all.map(r => Number(r.querySelector('[data-side]').title))"
    )
    wanted = [row.before for row in view.session.outcome.rows]
    return max((abs(a - b) for a, b in zip(shown, wanted, strict=True)), default=0.0)


def _edits(view: Any) -> list[dict[str, Any]]:
    trace = view.trace
    return [
        edit
        for kind in trace.kinds
        for layer in range(trace.n_layers(kind))
        for edit in (
            *(
                dict(edit="ablate", layer=layer, head=head, kind=kind)
                for head in range(trace.n_heads(kind))
            ),
            dict(edit="knock_out", layer=layer, query=3, key=1, kind=kind),
        )
    ]
