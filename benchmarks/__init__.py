"""Side-by-side measurements: `python -m benchmarks [names…]`. See README.md."""

NAMES = (
    "number_words", "dates", "reverse", "sort", "induction", "stories", "reports", "agreement",
    "digits", "recurrent_models", "char_lm", "throughput", "bf16", "limits", "scaling", "parallelism", "kv_cache", "trace_cost", "sweeps",
    "explorer", "pages", "learning", "views", "desk", "long_texts", "room", "zoo", "gpu",
)  # fmt: skip
