from typing import Any

no_init_weights: Any
