"""Why a head attends to a key."""
