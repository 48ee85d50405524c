"""What works here: `report` says it, `probe` tries in a process of its own what may crash."""
