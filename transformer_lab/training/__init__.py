"""Training: the loop, what a run keeps, and what feeds and measures it."""
