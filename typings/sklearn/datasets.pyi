from typing import Any

load_digits: Any
