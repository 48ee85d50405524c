"""Finding a Hugging Face model by name: an installed wheel, a local folder, or the hub."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .hub import quiet


def load_text_model(name: str | Path) -> tuple[Any, Any, str]:
    """(model, tokenizer, name to show).

    Raises:
        FileNotFoundError: when there is no such model here and it cannot be fetched.
        ValueError: for a folder or a model that is not a transformer with text tokens.
        ImportError: when transformers is not installed.
    """
    from .pretrained.wheels import WHEELS, load_wheel

    if str(name) in WHEELS:
        return (*load_wheel(str(name)), str(name))
    try:
        import transformers
    except ImportError:
        raise ImportError(
            "Hugging Face models need the package transformers: pip install "
            "'transformer-lab-notebooks[hub]'"
        ) from None
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} is no model folder: it has no config.json. Give a folder written by "
            "save_pretrained or by TextModel.save"
        )
    if not folder.is_dir() and is_a_path(str(name)):
        raise FileNotFoundError(f"{name} is no folder here")
    local = folder.is_dir()
    source = str(folder) if local else str(name)
    options = {"local_files_only": not local and not _hub_is_reachable()}
    with quiet(), _no_progress_bars():
        try:
            config = transformers.AutoConfig.from_pretrained(source, **options)
            model = _auto_class(transformers, config).from_pretrained(source, **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
        except (OSError, ValueError) as error:
            raise _explained(name, local, error, list(WHEELS)) from error
    return model.eval(), tokenizer, folder.name if local else str(name)


def _hub_is_reachable() -> bool:
    """Whether the hub's name resolves, or a proxy may resolve it: asking costs a moment, where
    the hub's own client would retry for half a minute."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _auto_class(transformers: Any, config: Any) -> Any:
    """The class with the head that the model was saved with."""
    saved = (getattr(config, "architectures", None) or [""])[0]
    if getattr(config, "is_encoder_decoder", False):
        return transformers.AutoModelForSeq2SeqLM
    if saved.endswith(("ForCausalLM", "LMHeadModel")):
        return transformers.AutoModelForCausalLM
    if saved.endswith(("ForMaskedLM", "ForPreTraining")):
        return transformers.AutoModelForMaskedLM
    return transformers.AutoModel


def _explained(name: str | Path, local: bool, error: Exception, wheels: list[str]) -> Exception:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if local:
        return ValueError(f"{name} could not be loaded as a Hugging Face model: {first}")
    return FileNotFoundError(
        f"model {str(name)!r} is not here and could not be fetched from the Hugging Face hub "
        f"({first}). With no network, use 'shipped', {' or '.join(map(repr, wheels))} (after "
        "`make models`), or the path of a folder that holds the model."
    )


def is_a_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") > 1 or "\\" in name


@contextlib.contextmanager
def _no_progress_bars():
    """Progress bars of the loader say nothing to a reader of a notebook."""
    before = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]
        else:
            os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = before
