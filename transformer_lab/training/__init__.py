"""Training: the loop, its data and hardware, the folder of a run, and scores."""
