"""The hooks on a `NamedNetwork`'s module while taps are on it."""

from __future__ import annotations

import threading
from typing import Any

from torch import Tensor, nn

from ..attention import Site, Tap
from .hooks import Hook, hook, remove_all
from .inline_attention import Watching
from .network import AdapterError

lock = threading.RLock()  # two threads that add taps at once must not lose one


class NamedSession:
    """Taps, and the hooks that let them read and change a pass. A copy of the module has a copy of
    this. The hooks see the passes of every thread. While one is inside an attention module, the
    hooks stay even if the last tap is removed, because the `Watching` that has begun there must
    end; the next removal of a tap removes them. (A hook cannot be removed while it is called.)

    Args:
        network: the `NamedNetwork`.
    """

    def __init__(self, network: Any):
        self.taps: tuple[Tap, ...] = ()
        self.closed = False
        self.sites, self.writers = network.sites(), network.writers()
        kind = network.kinds[0]
        self.streams = {block: Site(kind, i) for i, block in enumerate(network.blocks())}
        self.running: dict[int, list[Watching]] = {}  # by thread
        self.n_tokens: dict[int, int] = {}
        self.hooks: list[Hook] = [hook(network.module, self._begin, before=True)]
        for module in self.sites:
            self.hooks.append(hook(module, self._enter, before=True))
            self.hooks.append(hook(module, self._leave, always_call=True))
        for module in self.streams:
            self.hooks.append(hook(module, self._into, before=True))
            self.hooks.append(hook(module, self._out_of))
        if self.streams:
            for module in self.writers:
                self.hooks.append(hook(module, self._written))

    def close_unless_needed(self) -> bool:
        """Remove the hooks if no tap and no pass needs them; return whether they are off."""
        with lock:
            if self.taps or any(w.is_open for running in [*self.running.values()] for w in running):
                return False
            self.closed = True
            remove_all(self.hooks)
            return True

    def _begin(self, module: nn.Module, args: tuple) -> None:
        thread = threading.get_ident()
        self.running.pop(thread, None)
        if args and isinstance(args[0], Tensor) and args[0].dim() == 2:
            self.n_tokens[thread] = args[0].shape[1]

    def _enter(self, module: nn.Module, args: tuple) -> None:
        thread = threading.get_ident()
        watching = Watching(
            module, self.taps, self.n_tokens.get(thread), lambda _: (self.sites[module], None, None)
        )
        with lock:
            if self.closed:
                return
            self.running.setdefault(thread, []).append(watching)
        watching.__enter__()

    def _leave(self, module: nn.Module, args: tuple, output: Any) -> None:
        running = self.running.get(threading.get_ident(), [])
        if not running or running[-1].module is not module:
            return
        watching = running.pop()
        watching.__exit__(None, None, None)
        if output is not None and (why := watching.finish()):
            raise AdapterError(why)

    def _into(self, block: nn.Module, args: tuple) -> Any:
        if not args or not isinstance(args[0], Tensor):
            return None
        return (self._through("resid_pre", self.streams[block], args[0]), *args[1:])

    def _out_of(self, block: nn.Module, args: tuple, output: Any) -> Any:
        return self._changed("resid_post", self.streams[block], output)

    def _written(self, module: nn.Module, args: tuple, output: Any) -> Any:
        name, site = self.writers[module]
        return self._changed(name, site, output)

    def _changed(self, name: str, site: Site, output: Any) -> Any:
        if isinstance(output, tuple):
            return (self._through(name, site, output[0]), *output[1:])
        return self._through(name, site, output)

    def _through(self, name: str, site: Site, x: Tensor) -> Tensor:
        for tap in self.taps:
            x = tap.on_stream(name, site, x)
        return x
