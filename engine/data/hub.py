"""Data sets of the Hugging Face Hub, by `datasets`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from engine.bases import access
from engine.data.parquet import named
from engine.data.rows import Table, check_rows, listed
from engine.errors import DataError

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
_PREFIXES = ("https://huggingface.co/datasets/", "hf://datasets/")
_MAX_DOWNLOAD = 5 * 1024**3
_TIMEOUT_S = 15.0
_MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti")


def is_id(source: str) -> bool:
    """Whether it is written as the Hub writes ids: owner/name, with nothing in it that leads elsewhere."""
    bare = bare_id(source)
    return bool(_ID.fullmatch(bare)) and ".." not in bare and "--" not in bare and not bare.endswith((".git", ".", "-"))


def bare_id(source: str) -> str:
    """The id without a web address before it."""
    for prefix in _PREFIXES:
        if source.startswith(prefix):
            return "/".join(source.removeprefix(prefix).strip("/").split("/")[:2])
    return source


def read(source: str, config: str | None = None, split: str = "train", revision: str | None = None) -> Table:
    """One split of a Hub data set.

    Raises DataError where it is missing, private, gated, too large, or the Hub can't be reached.
    """
    name = bare_id(source)
    if not is_id(name):
        raise DataError(f"{name!r} is not the id of a Hub data set.", "Write it as owner/name.")
    if Path(name).exists():
        # `datasets` would read the local folder in place of the Hub.
        raise DataError(f"A local folder {name} hides the Hub data set of this name.", "Rename the folder.")
    revision = _preflight(name, revision)
    rows, notices = _loaded(name, config, split, revision)
    if not len(rows):
        raise DataError(f"The split {split!r} of {name} has no rows.", "Choose another split.")
    check_rows(len(rows), name)
    rows, said = _plain(rows, name)
    notices += said
    records = rows.to_list()
    places = [f"row {number} of {split}" for number in range(1, len(records) + 1)]
    return Table(list(rows.column_names), records, places, notices, [], name)


def _preflight(name: str, revision: str | None) -> str | None:
    """The commit that the data set stands at. Asked before `datasets` does, which waits long and tells little.

    In offline mode the revision as given: `datasets` may still have it in its cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    try:
        info = HfApi(token=access.token()).dataset_info(
            name, revision=revision, timeout=_TIMEOUT_S, files_metadata=True
        )
    except hub.GatedRepoError:
        raise DataError(
            f"{name} is gated: its owner asks people to agree to terms first.",
            "Agree on the data set's page, then sign in with a token (HF_TOKEN).",
        ) from None
    except hub.RevisionNotFoundError:
        raise DataError(f"{name} has no revision {revision!r}.", "Give a branch, a tag or a commit of it.") from None
    except hub.RepositoryNotFoundError:
        raise DataError(
            f"The Hub has no data set {name}, or it is private.",
            "Check the spelling; for a private one sign in (HF_TOKEN).",
        ) from None
    except hub.OfflineModeIsEnabled:
        return revision
    except hub.HfHubHTTPError as error:
        raise DataError(f"The Hub refused {name}: {error.response.status_code}.", "Try again later.") from None
    except (hub.HTTPError, OSError) as error:
        raise _unreachable(name, error) from None
    size = sum(file.size or 0 for file in info.siblings or [])
    if size > _MAX_DOWNLOAD:
        raise DataError(
            f"{name} has {size / 1024**3:.0f} GB; at most {_MAX_DOWNLOAD // 1024**3} GB are fetched.",
            "Download the files you need and give one of them.",
        )
    return info.sha


def _loaded(name: str, config: str | None, split: str, revision: str | None) -> tuple[Any, list[str]]:
    import datasets
    from datasets import exceptions
    from datasets.packaged_modules.csv.csv import Csv
    from huggingface_hub.errors import HTTPError

    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision, token=access.token())
        part = (builder.info.splits or {}).get(split)
        if part is not None and part.num_examples:
            check_rows(part.num_examples, name)
        # Without this, "NA" and "null" in a CSV file would be read as nothing.
        exact = {"keep_default_na": False} if isinstance(builder, Csv) else {}
        rows = datasets.load_dataset(
            name, builder.config.name, split=split, revision=revision, token=access.token(), **exact
        )
    except (exceptions.DatasetNotFoundError, ConnectionError, HTTPError) as error:
        raise _unreachable(name, error) from None
    except exceptions.DatasetGenerationError as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise DataError(
            f"The files of {name} can't be read together: {cause}.", "Choose a configuration, or give one of its files."
        ) from None
    except (ValueError, RuntimeError, OSError) as error:
        raise _chosen_wrong(name, config, split, error) from None
    asked = {part.partition("[")[0].strip() for part in split.split("+")}
    others = [other for other in rows.info.splits or {} if other not in asked]
    return rows, [f"{name} has further splits, which are not read: {listed(others)}."] if others else []


def _chosen_wrong(name: str, config: str | None, split: str, error: Exception) -> DataError:
    """What `datasets` tells as plain ValueError: an unknown split, a wrong or missing configuration, old scripts."""
    text = str(error)
    if "scripts are no longer supported" in text:
        return DataError(
            f"{name} needs its own program to be read, which is not run.", "Choose a data set of plain files."
        )
    if isinstance(error, FileNotFoundError) and "data files" in text:
        return DataError(f"{name} holds no data files that can be read.", "Choose another data set.")
    available = re.findall(r"'([^']+)'", text.partition("[")[2].partition("]")[0])
    if "unknown split" in text.lower() or "unrecognized instruction" in text.lower():
        fix = f"It has {listed(available)}." if available else "See its page for the splits."
        return DataError(f"{name} has no split {split!r}.", fix)
    if "builderconfig" in text.lower() or "config name is missing" in text.lower():
        asked = f"has no configuration {config!r}" if config else "has several configurations"
        return DataError(f"{name} {asked}.", f"Choose one: {listed(available)}." if available else "See its page.")
    return DataError(
        f"{name} can't be read: {text.splitlines()[0] if text else type(error).__name__}.", "Choose another data set."
    )


def _unreachable(name: str, error: Exception) -> DataError:
    return DataError(
        f"The Hub can't be reached for {name} ({type(error).__name__}).",
        "Check the network, or download the file elsewhere and give it here.",
    )


def _plain(rows: Any, name: str) -> tuple[Any, list[str]]:
    """Without pictures and sound; class numbers as their names."""
    notices: list[str] = []
    media = [column for column, feature in rows.features.items() if type(feature).__name__ in _MEDIA]
    if media:
        rows = rows.remove_columns(media)
        notices.append(f"Pictures, sound and the like are not read: {listed(media)}.")
    own = rows.features
    inner = {column: getattr(feature, "feature", feature) for column, feature in own.items()}
    classes = {column: feature.names for column, feature in inner.items() if type(feature).__name__ == "ClassLabel"}
    if classes:
        import datasets

        features = own.copy()
        for column in classes:
            text = datasets.Value("string")
            features[column] = text if inner[column] is own[column] else datasets.List(text)
        rows = rows.map(
            lambda batch: {
                column: [named(names, value) for value in batch[column]] for column, names in classes.items()
            },
            batched=True,
            features=features,
            load_from_cache_file=False,
            keep_in_memory=True,
        )
        notices.append(f"Class numbers of {name} were replaced by their names: {listed(list(classes))}.")
    return rows, notices
