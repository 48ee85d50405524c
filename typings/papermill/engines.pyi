from typing import Any

NBClientEngine: Any
papermill_engines: Any
