"""What a position scheme adds, and what it can distinguish."""
