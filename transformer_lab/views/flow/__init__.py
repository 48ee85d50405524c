"""How a logit comes together: what heads carry from token to token, as a picture of edges."""
