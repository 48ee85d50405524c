# See typings/README.md.
from typing import Any

execute_notebook: Any
