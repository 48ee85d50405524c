"""Write constraints.txt: one tested version of each package, for every supported Python.

    python docs/make_lock.py

uv resolves pyproject.toml with all its extras for Python 3.10 to 3.13 and every platform at once.
torch and its GPU packages are not pinned: the right build depends on the machine.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FREE = re.compile(r"^(torch|torchvision|triton|pytorch-triton|nvidia-|cuda-)", re.IGNORECASE)
EXTRAS = ("hub", "pictures", "course", "book", "where", "dev")
HEADER = """\
# Versions that were tested together, for Python 3.10 to 3.13. `make lab` and environment.yml use
# them; `make lab LOCK=` takes the newest instead, and `make lock` writes this file again.
# torch is left out: the right build depends on the machine.
"""


def main() -> None:
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.10",
        "--no-annotate",
        "--no-header",
        "pyproject.toml",
    ]
    for extra in EXTRAS:
        command += ["--extra", extra]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"uv could not resolve the packages:\n{run.stderr}")
    lines = [line for line in run.stdout.splitlines() if line and not FREE.match(line)]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n", "utf-8")
    print(f"constraints.txt: {len(lines)} lines")


if __name__ == "__main__":
    main()
