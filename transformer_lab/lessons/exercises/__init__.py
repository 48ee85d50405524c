"""Exercises of the lessons: the learner's answers and their checks."""
