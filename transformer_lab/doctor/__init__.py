"""Check what works here: `report` reports it, `probe` tries what may crash in its own process."""
