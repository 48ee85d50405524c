from typing import Any

eager_mask: Any
sdpa_mask: Any
