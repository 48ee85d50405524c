"""Activation patching grids: the same numbers as TransformerLens, in ≤ 0.8 × its CPU time.

GPT-2-small's shape with random weights, one model in two copies: activation patching of all heads,
activation patching of the residual stream by layer and position, and attribution patching of heads and
MLPs. The two libraries take turns, and the medians of their CPU times are compared. Then two waits of a
user: exact grids of the shipped model, and attribution patching of SmolLM2-135M at every site.

TransformerLens comes with the development tools. If it or SmolLM2 (`make models`) is missing, its rows
are left out.
"""

import copy
import statistics
from importlib import import_module

import torch

import transformer_lab as tl

from .report import Clock, at_most

TURNS = 3
TOKENS, PAIR, BAR = 16, (11, 12), 0.8
SHIPPED, SMOL = 53, 15  # tokens
STREAM = ("resid_pre", "attn_out", "mlp_out")
EVERY = (*STREAM, "z", "q", "k", "v", "pattern")
IOI = ("When Mary and John went to the big store, John gave", " Mary", " John")


def run(options):
    torch.manual_seed(options.seed)
    yield from beside_transformer_lens(gpt2(), options.seed)
    yield from shipped(options.seed)
    yield from smol(options.seed)


def gpt2(**shape):
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **shape)
    return transformers.GPT2LMHeadModel(config).eval()


def beside_transformer_lens(model, seed, turns=TURNS):
    try:
        theirs = bridge(copy.deepcopy(model))
    except ImportError:
        return
    tokens = torch.randint(20, model.config.vocab_size, (2, TOKENS))
    clean, corrupted = tokens[:1], tokens[:1].clone()
    corrupted[0, TOKENS // 2 :] = tokens[1, TOKENS // 2 :]
    for name, ours, peer in (
        ("activation patching of all heads", exact("z"), heads),
        ("activation patching of layer × position", exact("resid_pre"), stream),
        ("attribution patching of heads and MLPs", attribution, nodes),
    ):
        with Clock() as whole:
            times, found = {"ours": [], "theirs": []}, {}
            for _ in range(turns):
                for who, one, subject in (("ours", ours, model), ("theirs", peer, theirs)):
                    with Clock() as clock:
                        found[who] = one(subject, clean, corrupted)
                    times[who].append(clock.cpu)
        apart = max(
            float((a - b).abs().max()) for a, b in zip(found["ours"], found["theirs"], strict=True)
        )
        mine, its = (statistics.median(times[who]) for who in ("ours", "theirs"))
        note = f"{mine:.3g} s and {its:.3g} s; {TOKENS} tokens"
        yield at_most(
            f"{name}, CPU time / TransformerLens'",
            mine / its,
            BAR,
            unit="×",
            note=note,
            seconds=whole.cpu,
            seed=seed,
        )
        yield at_most(
            f"{name}, largest difference",
            apart,
            1e-4,
            unit="logits",
            seconds=whole.cpu,
            seed=seed,
            note=f"{apart:.2g}",
        )


def exact(site):
    def grid(model, clean, corrupted):
        found = tl.patching_grid(model, clean, corrupted, metric=PAIR, sites=site, by="exact")[site]
        return [found.into + found.exact]

    return grid


def attribution(model, clean, corrupted):
    found = tl.patching_grid(model, clean, corrupted, metric=PAIR, sites=("z", "mlp_out"))
    return [found[site].estimate for site in ("z", "mlp_out")]


# -- TransformerLens --------------------------------------------------------------------------------


def bridge(model):
    made = import_module("transformer_lens.model_bridge.transformer_bridge").TransformerBridge
    return made.boot_transformers("gpt2", hf_model=model, tokenizer=tokenizer()).eval()


def tokenizer():
    """A tokenizer that is never used; TransformerLens requires one."""
    import tokenizers
    import transformers

    model = tokenizers.models.WordLevel({"[E]": 0, "a": 1}, unk_token="[E]")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(model),
        bos_token="[E]",
        eos_token="[E]",
        pad_token="[E]",
        unk_token="[E]",
        add_bos_token=True,
        name_or_path="none",
    )


def difference(logits):
    return logits[0, -1, PAIR[0]] - logits[0, -1, PAIR[1]]


def patched(name):
    def grid(model, clean, corrupted):
        patching = import_module("transformer_lens.patching")
        with torch.no_grad():
            _, cache = model.run_with_cache(clean)
            return [getattr(patching, name)(model, corrupted, cache, difference)]

    return grid


heads = patched("get_act_patch_attn_head_out_all_pos")
stream = patched("get_act_patch_resid_pre")


def nodes(model, clean, corrupted):
    tools = import_module("transformer_lens.tools.analysis.attribution_patching")
    found = tools.attribution_patch(model, clean, corrupted, difference).node_scores
    layers = model.cfg.n_layers
    of_heads = torch.zeros(layers, model.cfg.n_heads)
    of_mlps = torch.zeros(layers, clean.shape[1])
    for node, value in found.items():
        if node.kind == "attn_head_out":
            of_heads[node.layer, node.head] += value
        elif node.kind == "mlp_out":
            of_mlps[node.layer, node.position] += value
    return [of_heads, of_mlps]


# -- what a reader waits for ------------------------------------------------------------------------


def shipped(seed):
    model = tl.shipped("manual").model
    tokens = torch.randint(20, model.config.vocab_size, (1, SHIPPED))
    corrupted = tokens.clone()
    corrupted[0, SHIPPED // 2] = 19
    with Clock() as clock:
        found = tl.patching_grid(model, tokens, corrupted, metric=PAIR, sites=STREAM, by="exact")
    cells = sum(grid.exact.numel() for grid in found.values())
    yield at_most(
        "exact grids of the shipped model",
        clock.wall,
        10,
        unit="s",
        note=f"{cells} cells",
        seconds=clock.cpu,
        seed=seed,
    )


def smol(seed):
    try:
        model = tl.TextModel.from_pretrained("smollm2-135m")
    except FileNotFoundError:
        return
    text, *pair = IOI
    ids = model.encode(text + " a drink to")[:SMOL]
    corrupted = ids.clone()
    corrupted[1] = model.token_id(" Lucy")
    with Clock() as clock:
        found = tl.patching_grid(
            model.model, ids, corrupted, metric=[model.token_id(word) for word in pair], sites=EVERY
        )
    cells = sum(int(grid.there.sum()) for grid in found.values())
    yield at_most(
        f"attribution patching of SmolLM2-135M, {len(ids)} tokens, every site",
        clock.wall,
        3,
        unit="s",
        note=f"{cells} cells, {clock.cpu:.3g} s of CPU time",
        seconds=clock.cpu,
        seed=seed,
    )
