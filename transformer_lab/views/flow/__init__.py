"""How a logit is built up: what heads carry between tokens, drawn as edges."""
