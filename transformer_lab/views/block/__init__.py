"""One block, step by step."""
