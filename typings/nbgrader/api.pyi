from typing import Any

Gradebook: Any
