"""Checks of lesson 15's two exercises that read a config."""

from __future__ import annotations

import torch

from transformer_lab.lessons.graders.base import Case, Grader, Suspect
from transformer_lab.lessons.solutions import lesson_15 as solutions

# --- parameters_of -------------------------------------------------------------------------------


def _config(**changes) -> dict:
    plain = dict(
        model_type="llama", vocab_size=50, hidden_size=12, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=20, tie_word_embeddings=True,
    )  # fmt: skip
    return {**plain, **changes}


_CONFIGS = {
    "a config with a tied head and a key head for every query head": _config(),
    "a config with an output head that is not tied": _config(tie_word_embeddings=False),
    "a config with grouped heads": _config(num_attention_heads=4, num_key_value_heads=2),
    "a config that gives `head_dim`": _config(num_key_value_heads=1, head_dim=10),
    "a config of the type qwen3": _config(model_type="qwen3", head_dim=8, num_hidden_layers=3),
    "a config of the type gemma3_text": _config(model_type="gemma3_text", head_dim=6),
}


def _parameters_cases() -> list[Case]:
    return [Case(name, (config,)) for name, config in _CONFIGS.items()]


def _with(**changes):
    """parameters_of that reads a changed config."""

    def wrong(config):
        return solutions.parameters_of({**config, **{k: f(config) for k, f in changes.items()}})

    return wrong


def _changed(part, by):
    def wrong(config):
        counted = solutions.parameters_of(config).double()
        counted[part] = by(config, counted[part])
        return counted

    return wrong


def _norm_sizes(config):
    of_stream, of_head = solutions.NORMS[config["model_type"]]
    d_head = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    return of_stream * config["hidden_size"], of_head * d_head


PARAMETERS = Grader(
    name="15/parameters_of",
    cases=_parameters_cases,
    reference=solutions.parameters_of,
    shape_hint="five whole numbers: embedding, attention, feed-forward, norms, head",
    suspects=(
        Suspect(
            "one layer",
            lambda config: (
                torch.tensor([1, 0, 0, 0, 1]) * solutions.parameters_of(config)
                + torch.tensor([0, 1, 1, 1, 0])
                * solutions.parameters_of({**config, "num_hidden_layers": 1})
            ),
            "You counted a single layer. There are `num_hidden_layers` of them, each with attention, "
            "feed-forward and norms.",
        ),
        Suspect(
            "two matrices of the feed-forward layer",
            _changed(2, lambda config, n: n * 2 / 3),
            "Your feed-forward layer has two matrices. SwiGLU has three: gate, up and down.",
        ),
        Suspect(
            "no final norm",
            _changed(3, lambda config, n: n - config["hidden_size"]),
            "One norm is missing: the last one, after all layers.",
        ),
        Suspect(
            "final norm in each layer",
            _changed(
                3,
                lambda config, n: (
                    config["num_hidden_layers"] * (sum(_norm_sizes(config)) + config["hidden_size"])
                ),
            ),
            "You counted the last norm in every layer. There is only one, after all layers.",
        ),
        Suspect(
            "norms with a bias",
            _changed(3, lambda config, n: 2 * n),
            "You gave each norm a gain and a bias. RMSNorm has only the gain.",
        ),
        Suspect(
            "no output projection",
            _changed(1, lambda config, n: n - _output(config)),
            "One matrix of attention is missing: W_O, which brings the heads back to hidden_size.",
        ),
        Suspect(
            "tied head counted again",
            _with(tie_word_embeddings=lambda config: False),
            "You counted a tied head. A tied head *is* the embedding, so it has no parameters of its "
            "own.",
        ),
        Suspect(
            "head left out",
            _with(tie_word_embeddings=lambda config: True),
            "You left out a head that is not tied. It has as many parameters as the embedding.",
        ),
        Suspect(
            "keys as many as queries",
            _with(num_key_value_heads=lambda config: config["num_attention_heads"]),
            "You gave keys and values as many heads as the queries. There are only "
            "`num_key_value_heads` of them.",
        ),
        Suspect(
            "head_dim not read",
            _with(head_dim=lambda config: config["hidden_size"] // config["num_attention_heads"]),
            "You used hidden_size / heads as the width of a head, but the config gives `head_dim`, "
            "which may be larger.",
        ),
        Suspect(
            "norms of queries and keys left out",
            _changed(3, lambda config, n: n - config["num_hidden_layers"] * _norm_sizes(config)[1]),
            "The norms of queries and keys are missing: `NORMS` says how many norms with head_dim "
            "numbers a layer has.",
        ),
        Suspect(
            "norms of queries and keys as wide as the stream",
            _changed(
                3,
                lambda config, n: (
                    config["num_hidden_layers"]
                    * sum(solutions.NORMS[config["model_type"]])
                    * config["hidden_size"]
                    + config["hidden_size"]
                ),
            ),
            "The norms of queries and keys have `head_dim` numbers, not `hidden_size`.",
        ),
        Suspect(
            "two norms of the stream in each layer, whatever the type",
            _changed(
                3,
                lambda config, n: (
                    config["num_hidden_layers"]
                    * (2 * config["hidden_size"] + _norm_sizes(config)[1])
                    + config["hidden_size"]
                ),
            ),
            "You gave every layer two norms of the stream. `NORMS` says how many a layer has in this "
            "model type.",
        ),
        Suspect(
            "a sum",
            lambda config: solutions.parameters_of(config).sum(),
            "This is the sum. Return the five parts, to show where the parameters are.",
        ),
    ),
)


def _output(config: dict) -> int:
    heads = config["num_attention_heads"]
    return (
        config["num_hidden_layers"]
        * config["hidden_size"]
        * heads
        * config.get("head_dim", config["hidden_size"] // heads)
    )


# --- cache_bytes ---------------------------------------------------------------------------------


def _cache_cases() -> list[Case]:
    # Five layers and 8 bytes, so that no two mistakes give the same number.
    grouped = _config(num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2)
    wide = _config(num_hidden_layers=5, num_key_value_heads=1, head_dim=10)
    return [
        Case(
            "a config with a key head for every query head, in fp64",
            (_config(num_hidden_layers=5), 8),
        ),
        Case("a config with grouped heads, in fp64", (grouped, 8)),
        Case("a config that gives `head_dim`, in bf16", (wide, 2)),
    ]


def _times(by):
    return lambda config, each: solutions.cache_bytes(config, each) * by(config, each)


CACHE = Grader(
    name="15/cache_bytes",
    cases=_cache_cases,
    reference=solutions.cache_bytes,
    shape_hint="one whole number",
    suspects=(
        Suspect(
            "keys or values",
            _times(lambda config, each: 0.5),
            "You counted the keys and forgot the values, or the other way round: both are kept.",
        ),
        Suspect(
            "one layer",
            _times(lambda config, each: 1 / config["num_hidden_layers"]),
            "You counted one layer. Each layer keeps its own keys and values.",
        ),
        Suspect(
            "numbers, not bytes",
            _times(lambda config, each: 1 / each),
            "These are numbers, not bytes: each takes `bytes_each`.",
        ),
        Suspect(
            "keys as many as queries",
            lambda config, each: solutions.cache_bytes(
                {**config, "num_key_value_heads": config["num_attention_heads"]}, each
            ),
            "You counted keys for every query head. There are only `num_key_value_heads` key heads.",
        ),
        Suspect(
            "head_dim not read",
            lambda config, each: solutions.cache_bytes(
                {**config, "head_dim": config["hidden_size"] // config["num_attention_heads"]}, each
            ),
            "You used hidden_size / heads as the width of a head, but the config gives `head_dim`.",
        ),
        Suspect(
            "the whole width",
            lambda config, each: torch.tensor(
                2 * config["num_hidden_layers"] * config["hidden_size"] * each
            ),
            "You counted `hidden_size` numbers for keys and as many for values. With grouped heads "
            "there are fewer: `num_key_value_heads` times the width of a head.",
        ),
        Suspect(
            "always two bytes",
            lambda config, each: solutions.cache_bytes(config, 2),
            "You always take 2 bytes per number. `bytes_each` says how many a number takes.",
        ),
    ),
)
