"""What is asked of a model, beyond one trace: its circuits, patches between prompts, studies of many
prompts, and reports of what was found."""
