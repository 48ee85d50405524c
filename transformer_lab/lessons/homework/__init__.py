"""Homework: nbgrader courses made of the lessons, and grading in boxes."""
