"""Check what works here: `report` lists it, `probe` tries what may crash in its own process."""
