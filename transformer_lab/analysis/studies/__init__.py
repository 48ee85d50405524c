"""Studies: one measurement on many prompts, with its mean, its spread and its interval."""
