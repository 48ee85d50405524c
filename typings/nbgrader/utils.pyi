from typing import Any

is_grade: Any
is_solution: Any
