"""Models of the Hugging Face Hub: their facts by range requests, their files by download. Needs no torch.

The Hub is probed once and fast: its own libraries wait half a minute for a dead network. Where it can't be
reached, what an earlier run downloaded is used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import home
from engine.bases import access
from engine.errors import MachineError, ModelError, UserError

PROBE_S = 4.0
ANSWERS_LAST_S = 60.0
INFO_FILES = ("config.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json")
_TOKENIZER_FILES = frozenset(
    "tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt merges.txt "
    "tokenizer.model spiece.model sentencepiece.bpe.model chat_template.jinja chat_template.json config.json "
    "generation_config.json model.safetensors.index.json modules.json sentence_bert_config.json "
    "1_Pooling/config.json".split()
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


@dataclass(frozen=True)
class HubModel:
    """What the Hub says of a model; or the `folder` of an earlier download, where it can't be asked."""

    revision: str | None
    files: dict[str, str | None] = field(default_factory=dict, repr=False)
    """Text of the small files that describe it, by name."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict, repr=False)
    """Name in the file → type and shape."""
    needed: tuple[str, ...] = ()
    """Names of the files that training needs."""
    license: str | None = None
    download_bytes: int | None = None
    folder: Path | None = None


def model(id: str, revision: str | None) -> HubModel:
    """Raises ModelError where the model doesn't exist, is gated, or has no safetensors weights."""
    if reachable():
        return _asked(id, revision, access.token(), now())
    folder = _cached(id, revision)
    if folder is None:
        raise _offline(id)
    if access.token() is False and not _is_known_as_open(id):
        raise ModelError(
            f"Whether {id} is open to everybody can't be asked, because the Hub can't be reached.",
            "Try again later, or choose an embedded model (embedded:smollm2-135m, embedded:minilm).",
        )
    return HubModel(folder.name, folder=folder)


def model_folder(id: str, revision: str | None, report: Callable[[str], None]) -> Path:
    """The folder of a downloaded model; an interrupted download goes on where it stopped."""
    found = model(id, revision)
    if found.folder is not None:
        return found.folder
    complete = _cached(id, found.revision, found.needed)
    if complete is not None:
        return complete
    from huggingface_hub import snapshot_download

    size = f" ({_amount(found.download_bytes)})" if found.download_bytes else ""
    report(f"Downloading {id}{size} from the Hub.")
    with _translated(id, revision):
        return Path(
            snapshot_download(id, revision=found.revision, allow_patterns=list(found.needed), token=access.token())
        )


def tokenizer_folder(id: str, revision: str | None) -> Path:
    """The folder of a model's tokenizer, which is downloaded alone where the model isn't there. Raises as `model`."""
    found = model(id, revision)
    if found.folder is not None:
        return found.folder
    from huggingface_hub import snapshot_download

    with _translated(id, revision):
        wanted = sorted(_TOKENIZER_FILES & {*found.needed})
        return Path(snapshot_download(id, revision=found.revision, allow_patterns=wanted, token=access.token()))


def reachable() -> bool:
    """Whether the Hub answers; asked at most once a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    return _probe(constants.ENDPOINT, now())


def terms(id: str, revision: str | None, token: str | None) -> tuple[str | None, bool]:
    """The licence that a model's page states, and whether the model is gated; (None, False) where that isn't told."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    if not reachable():
        return None, False
    try:
        info = HfApi(token=token or False).model_info(id, revision=revision, timeout=15)
    except (*_network_errors(), HFValidationError):
        return None, False
    return license_of(info.card_data), bool(info.gated)


def no_safetensors(id: str, names: list[str]) -> ModelError:
    """The error for a model among whose files (`names`) there are no safetensors weights."""
    if any(name.endswith(_PICKLES) for name in names):
        return ModelError(
            f"{id} has its weights in an older format only (pickle), which can hide programs and is refused.",
            "Choose a model with safetensors weights; most models have a newer version with them.",
        )
    return ModelError(
        f"{id} has no weights in safetensors format.", "Choose a model that has a file model.safetensors."
    )


def now() -> int:
    """A number that is equal for a minute: answers are kept that long."""
    return int(time.monotonic() / ANSWERS_LAST_S)


@lru_cache(maxsize=4)
def _probe(endpoint: str, minute: int) -> bool:
    from huggingface_hub.utils import get_session

    try:
        get_session().head(endpoint, timeout=PROBE_S)
    except _network_errors():
        return False
    return True


@lru_cache(maxsize=64)
def _asked(id: str, revision: str | None, token: str | bool | None, minute: int) -> HubModel:
    # Kept by token: what one person may see of the Hub is not told to the next.
    from huggingface_hub import HfApi, hf_hub_download

    api = HfApi(token=token)
    with _translated(id, revision):
        info = api.model_info(id, revision=revision, files_metadata=True, timeout=15)
        sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
        if "config.json" not in sizes:
            raise ModelError(f"{id} is not a transformers model: it has no config.json.", "Choose another model.")
        if not {"model.safetensors", "model.safetensors.index.json"} & sizes.keys():
            raise no_safetensors(id, list(sizes))
        # By the name that was asked for, so that the cache knows it when the Hub can't be reached.
        files = {
            name: Path(hf_hub_download(id, name, revision=revision, token=token)).read_text(encoding="utf-8")
            for name in INFO_FILES
            if name in sizes
        }
        header = api.get_safetensors_metadata(id, revision=info.sha)
    if not info.gated and not info.private:
        _remember_as_open(id)
    tensors = {
        name: (str(entry.dtype), tuple(entry.shape))
        for file in header.files_metadata.values()
        for name, entry in file.tensors.items()
    }
    needed = sorted((_TOKENIZER_FILES & sizes.keys()) | set(header.weight_map.values()))
    return HubModel(
        revision=info.sha,
        files=dict(files),
        tensors=tensors,
        needed=tuple(needed),
        license=license_of(info.card_data),
        download_bytes=sum(sizes.get(name, 0) for name in needed),
    )


def license_of(card: Any) -> str | None:
    """The licence as the model card states it; its own name where it is none of the usual ones."""
    if card is None:
        return None
    stated = card.get("license")
    if isinstance(stated, list):
        return ", ".join(map(str, stated)) or None
    if stated == "other":
        return str(card.get("license_name") or "other")
    return str(stated) if stated else None


def _is_known_as_open(id: str) -> bool:
    """Whether the Hub once said that everybody may have a model: then a visitor may use its download without asking."""
    known = _open_models()
    return known.is_file() and id in known.read_text(encoding="utf-8").splitlines()


def _remember_as_open(id: str) -> None:
    if not _is_known_as_open(id):
        with open(_open_models(), "a", encoding="utf-8") as file:
            file.write(f"{id}\n")


def _open_models() -> Path:
    return home.cache() / "open-models.txt"


def _cached(id: str, revision: str | None, needed: Sequence[str] = ()) -> Path | None:
    """The folder of an earlier download where it has its weights and the `needed` files, else None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(id, "config.json", revision=revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    wanted = {*needed} or {"config.json", *_weight_files(folder)}
    return folder if all((folder / name).exists() for name in wanted) else None


def _weight_files(folder: Path) -> set[str]:
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return {str(name) for name in index["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {"model.safetensors"}


@contextmanager
def _translated(id: str, revision: str | None) -> Iterator[None]:
    """Turns what huggingface_hub raises into a ModelError or MachineError."""
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.GatedRepoError:  # a RepositoryNotFoundError, too: it has to stand first
        fix = f"Agree on its page (huggingface.co/{id}) and sign in (`hf auth login`), or choose an open model."
        if access.token() is False:
            fix = "Choose an open model: visitors of a shared page don't get access to gated ones here."
        raise ModelError(f"{id} is gated: its owner asks everybody to agree to the terms first.", fix) from None
    except errors.RevisionNotFoundError:
        raise ModelError(
            f"{id} has no revision {revision!r}.", "Give a branch, tag or commit of it, or none."
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ModelError(
            f"The Hub has no model {id}, or it is private.",
            "Check the spelling (owner/name); sign in where it is private.",
        ) from None
    except (errors.NotASafetensorsRepoError, errors.SafetensorsParsingError) as error:
        raise ModelError(
            f"The weights of {id} can't be read: {_line(error)}.", "Choose another model or revision."
        ) from None
    except errors.OfflineModeIsEnabled:
        raise _offline(id) from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no answer")
        raise ModelError(f"The Hub did not give {id}: {status}.", "Wait a minute and try again.") from error
    except _network_errors() as error:
        if "No space left" in str(error):
            raise MachineError(
                f"The disk is full: {id} can't be downloaded.", "Free some space and try again."
            ) from None
        raise ModelError(
            f"The connection to the Hub broke while fetching {id}: {_line(error)}.",
            "Try again; what was downloaded is kept.",
        ) from error


def _network_errors() -> tuple[type[Exception], ...]:
    # The library under huggingface_hub changed its name between versions; its base error is found through this one.
    from huggingface_hub.errors import HfHubHTTPError

    http = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    return http, OSError


def _offline(id: str) -> ModelError:
    return ModelError(
        f"{id} is not on this machine, and the Hub can't be reached.",
        "Check the network, or use an embedded model (embedded:smollm2-135m, embedded:minilm) or a folder.",
    )


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
