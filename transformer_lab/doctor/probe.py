"""The checks of `transformer-lab doctor` that a broken library may crash, in their own process.

Each part prints one line of JSON when it is done, so that results from before a crash count.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

MARK = "doctor:"


def torch_() -> dict[str, Any]:
    import torch

    (torch.ones(2, 3) @ torch.ones(3, 2)).numpy()  # torch and numpy are compatible
    capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    return {
        "version": torch.__version__,
        "capability": capability,
        "threads": torch.get_num_threads(),
    }


def gpu() -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"build": torch.version.cuda or getattr(torch.version, "hip", None)}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        torch.ones(2, device="cuda").sum().item()  # a card too old for the build fails here
        found |= {
            "name": f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)",
            "count": torch.cuda.device_count(),
            "precision": "bf16, fp16, fp32" if torch.cuda.is_bf16_supported() else "fp16, fp32",
        }
    elif torch.backends.mps.is_available():
        found |= {"name": "Apple MPS", "count": 1, "precision": "fp32"}
    return found


def model() -> dict[str, Any]:
    from transformer_lab.text_model import shipped

    return {"answer": shipped("manual").generate("for key in", max_new_tokens=4, temperature=0)}


def hub() -> dict[str, Any]:
    import transformers

    return {"version": transformers.__version__}


def wheels() -> dict[str, Any]:
    from transformer_lab.pretrained.wheels import PICTURES, WHEELS, ModelNotInstalled

    here, away = [], {}
    for name, wheel in {**WHEELS, **PICTURES}.items():
        try:
            wheel.find(name)
            here.append(name)
        except ModelNotInstalled:
            away[name] = wheel.requirement
    return {"here": here, "away": away}


def box() -> dict[str, Any]:
    from transformer_lab.lessons.homework.box import box_works

    return {"works": box_works()}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": torch_,
    "gpu": gpu,
    "model": model,
    "hub": hub,
    "wheels": wheels,
    "box": box,
}


def main() -> None:
    for name, part in PARTS.items():
        if name not in sys.argv[1:]:
            continue
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = part()
        except BaseException as error:  # a library may even call sys.exit
            found = {"error": f"{type(error).__name__}: {error}"}
        print(MARK + json.dumps({name: found}), flush=True)


if __name__ == "__main__":
    main()
