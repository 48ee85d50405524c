"""Homework: nbgrader courses made from the lessons, and grading in sandboxes."""
