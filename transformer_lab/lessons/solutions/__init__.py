"""Solutions, one small file a lesson: reference, answer key, and what `answers="solutions"` runs."""
