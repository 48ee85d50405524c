"""Analyses beyond one trace: circuits, patching between prompts, studies of many prompts, and
reports.
"""
