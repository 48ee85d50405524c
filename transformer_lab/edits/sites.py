"""The sites that can be patched, by the names that papers and TransformerLens use."""

from __future__ import annotations

import re

from ..arguments import shown
from .kinds import EditError

OF_HEADS = ("z", "q", "k", "v", "pattern")
OF_STREAM = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")
SITES = (*OF_HEADS, *OF_STREAM)

# TransformerLens' names for them: "blocks.3.attn.hook_z" or "hook_z".
_HOOK = re.compile(r"(?:blocks\.(\d+)\.)?(?:attn\.)?hook_(?:rot_)?(\w+)")


def site_named(what: str, layer: int | None = None) -> tuple[str, int | None]:
    """Return the site and the layer that a name and a layer refer to.

    Raises:
        EditError: for an unknown name, and for one that names another layer.
    """
    hook = _HOOK.fullmatch(what) if isinstance(what, str) else None
    name = hook[2] if hook else "resid_pre" if what == "resid" else what
    if name not in SITES:
        raise EditError(f"what must be one of {', '.join(SITES)}, got {shown(what)}")
    if hook is None or hook[1] is None:
        return name, layer
    if layer not in (None, int(hook[1])):
        raise EditError(f"what={what!r} names layer {hook[1]} but layer={layer}; leave one out")
    return name, int(hook[1])
