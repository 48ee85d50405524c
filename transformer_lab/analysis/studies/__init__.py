"""One question asked of many prompts: what each says, their mean, and how far it can be trusted."""
