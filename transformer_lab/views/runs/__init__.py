"""A model while it trains, and its run afterwards."""
