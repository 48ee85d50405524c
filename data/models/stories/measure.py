"""Measure what the card of the story model says, on held-out stories, and write measured.json.

    python data/models/stories/measure.py          # about two minutes on one CPU core

Names: the stories with two people, wherever a name follows a word of saying ("said", "asked" …) or
"Thank you," and both people have been introduced. Right is the whole name, greedily, and its end. In
the control that name's earlier mentions are replaced by a third one. He and she: the first pronoun
of a person who is called by a noun ("a little boy called …"); which of the two is likelier. In the
control the noun is "person" and the name another.
"""

import argparse
import json
import math
import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import torch
from train import recipe, stories

import transformer_lab as tl

SAYING = re.compile(r"\b(said|asked|cried|called|whispered|answered|Thank you,)$")
PRONOUNS = {"he": ("he", "she"), "she": ("he", "she"), "He": ("He", "She"), "She": ("He", "She")}
GENDERED = {"he", "she", "his", "her", "him", "himself", "herself"}
SIZE = 5  # tokens of the longest n-gram


def pair_stories(data):
    return [story for story in data.held_out if len(story.people) == 2]


def name_places(story):
    """(mention, its person) wherever the story has to go on with a name that was said before."""
    seen = set()
    for mention in story.mentions:
        if mention.kind != "name":
            continue
        before = story.text[: mention.start].rstrip()
        if len(seen) == 2 and SAYING.search(before):
            yield mention
        seen |= set(mention.people)


def is_right(reader, prompt, name):
    """Whether the greedy continuation is this name, and ends there."""
    length = len(reader.tokenizer.encode(" " + name)) + 1
    said = reader.generate(prompt, max_new_tokens=length, temperature=0)
    return re.fullmatch(rf" {name}(\W.*)?", said, re.DOTALL) is not None


def names(reader, data, n, edits=()):
    """Fractions right: with the story, and with the name's earlier mentions replaced."""
    rng = random.Random(0)
    places = [(s, m) for s in pair_stories(data) for m in name_places(s)]
    places = rng.sample(places, min(n, len(places)))
    spare = sorted({person.name for story in data.held_out for person in story.people})
    counts = Counter()
    for story, mention in places:
        name = story.people[mention.people[0]].name
        prompt = story.text[: mention.start].rstrip()
        taken = {person.name for person in story.people}
        other = rng.choice([word for word in spare if word not in taken])
        with tl.edit(reader, *edits) if edits else torch.no_grad():
            counts["right"] += is_right(reader, prompt, name)
            if not edits:
                hidden = re.sub(rf"\b{name}\b", other, prompt)
                counts["control"] += is_right(reader, hidden, name)
    return {"n": len(places), "right": counts["right"], "control": counts["control"]}


def he_and_she(reader, data, n):
    rng = random.Random(0)
    spare = sorted({p.name for s in data.held_out for p in s.people})
    counts = Counter()
    for story in pair_stories(data):
        for who, person in enumerate(story.people):
            mentions = [m for m in story.mentions if m.people == (who,)]
            said = [m for m in mentions if m.kind == "pronoun"]
            said = [m for m in said if story.text[m.start : m.end].lower() in GENDERED]
            first = next((m for m in mentions if m.kind == "noun"), None)
            if not said or first is None or first.start > said[0].start or counts["n"] == n:
                continue
            word = story.text[said[0].start : said[0].end]
            if word not in PRONOUNS:
                continue
            prompt = story.text[: said[0].start].rstrip()
            hidden = prompt[: first.start] + "person" + prompt[first.end :]
            hidden = re.sub(rf"\b{person.name}\b", rng.choice(spare), hidden)
            counts["n"] += 1
            counts["right"] += likelier(reader, prompt, PRONOUNS[word]) == word
            counts["control"] += likelier(reader, hidden, PRONOUNS[word]) == word
    return dict(counts)


def likelier(reader, prompt, words):
    with torch.no_grad():
        logits = reader.model(torch.tensor([reader.tokenizer.encode(prompt)]))[0, -1]
    space = "" if prompt.endswith('"') and prompt.count('"') % 2 else " "
    ids = [reader.tokenizer.encode(space + word)[0] for word in words]
    return words[int(logits[ids].argmax())]


def told(reader, data, n):
    """Continuations of the first part of n held-out stories, drawn at temperature 0.7, seed 0."""
    drawn = torch.Generator().manual_seed(0)
    texts = []
    for story in pair_stories(data)[:n]:
        start = story.text[: story.parts[0].end]
        room = 250 - len(reader.tokenizer.encode(start))
        more = reader.generate(start, max_new_tokens=room, temperature=0.7, generator=drawn)
        texts.append(start + more)
    return texts


def well_quoted(text):
    """Whether every quotation is closed, and none holds another speaker's "said"."""
    parts = text.split('"')
    return len(parts) % 2 == 1 and not any(re.search(r"\bsaid [A-Z]", p) for p in parts[1::2])


def counting(data):
    """Held-out loss per token of n-grams, counted on the training stories.

    Witten-Bell smoothing: an n-gram's estimate is mixed with that of the shorter ones, the more so
    the more different tokens followed it.
    """
    counts = [defaultdict(Counter) for _ in range(SIZE)]
    eos = data.tokenizer.eos_id
    for story in data.train:
        ids = [*data.tokenizer.encode(story.text), eos]
        for i, token in enumerate(ids):
            for n in range(min(SIZE, i + 1)):
                counts[n][tuple(ids[i - n : i])][token] += 1
    totals = [{c: (sum(f.values()), len(f)) for c, f in table.items()} for table in counts]
    loss, n_scored = [0.0] * SIZE, 0
    for story in data.held_out:
        ids = [*data.tokenizer.encode(story.text), eos]
        for i in range(1, len(ids)):
            p = 1 / data.vocab_size
            for n in range(SIZE):
                context = tuple(ids[i - n : i])
                if n <= i and context in totals[n]:
                    total, kinds = totals[n][context]
                    p = (counts[n][context][ids[i]] + kinds * p) / (total + kinds)
                loss[n] -= math.log(p)
            n_scored += 1
    return {f"{n + 1}-gram": round(value / n_scored, 4) for n, value in enumerate(loss)}


def heads(reader, data, n):
    """Heads with a label, and how many names are right with each of them off."""
    found = []
    labels = tl.heads.labels(reader)
    for layer in range(reader.model.config.n_layers):
        for head in range(reader.model.config.n_heads):
            label = labels[layer][head]
            if label.name is None:
                continue
            off = names(reader, data, n, edits=[tl.ablate(layer=layer, head=head)])
            scores = {"score": label.score, "twin": label.twin, "second": label.second}
            scores = {key: value and round(value, 3) for key, value in scores.items()}
            found.append(
                {"layer": layer, "head": head, "label": label.name, **scores, "names": off["right"]}
            )
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="of the model")
    parser.add_argument("--n", type=int, default=100, help="places for each score")
    parser.add_argument("--brief", action="store_true", help="names, he and she, and the loss only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = stories()
    reader = tl.TextModel.from_pretrained(given.folder)
    measured = {
        "names": names(reader, data, given.n),
        "he and she": he_and_she(reader, data, given.n),
        "loss": {"model": round(recipe.loss_of(reader.model, data.epoch(32)), 4)},
    }
    print(json.dumps(measured), flush=True)
    if given.brief:
        sys.exit()
    measured["loss"] |= counting(data)
    texts = told(reader, data, given.n)
    measured["quotations closed"] = {"n": given.n, "right": sum(map(well_quoted, texts))}
    measured["continuations"] = texts[:20]
    measured["heads"] = heads(reader, data, given.n)
    text = json.dumps(measured, indent=1, ensure_ascii=False) + "\n"
    (given.folder / "measured.json").write_text(text, "utf-8")
    print(text)
