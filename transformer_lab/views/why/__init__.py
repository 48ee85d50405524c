"""Why a head looks where it looks."""
