"""Exercises of the lessons: what a learner writes, and what checks it."""
