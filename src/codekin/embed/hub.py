"""Models of the Hugging Face hub: fetched once into its cache, and taken from there ever after."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from codekin.embed.config import read_json
from codekin.errors import MissingExtraError, ModelError

# What makes a model; the same weights in other formats stay on the hub.
_PATTERNS = ["*.json", "*.safetensors", "merges.txt", "README.md"]


@dataclass(frozen=True)
class HubName:
    """A model's name on the hub: "owner/name", "owner/name@revision", "owner/name/file.gguf"."""

    repository: str
    file: str | None
    revision: str | None

    @property
    def patterns(self) -> list[str]:
        """Which files of the repository make it."""
        return [glob.escape(self.file)] if self.file else _PATTERNS

    @classmethod
    def parse(cls, name: str) -> HubName | None:
        """The parts of the name, None where it has not this form."""
        path, _, revision = name.partition("@")
        owner, _, rest = path.partition("/")
        model, _, file = rest.partition("/")
        if not owner or not model or owner in (".", "..", "~") or (file and not file.endswith(".gguf")):
            return None
        return cls(f"{owner}/{model}", file or None, revision or None)


def cached(name: HubName) -> Path | None:
    """The model's folder or .gguf file in the hub's cache, None where it is not there in full."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        folder = Path(
            snapshot_download(
                name.repository, revision=name.revision, allow_patterns=name.patterns, local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, ValueError):  # ValueError: no name that the hub allows
        return None
    if name.file:
        return folder / name.file if (folder / name.file).is_file() else None
    return folder if _complete(folder) else None


def fetch(name: HubName) -> Path:
    """The model's folder or .gguf file, from the hub's cache or else from the hub.

    What is in the cache is not looked up again, so that an index and its model stay together; to follow a newer one,
    name its revision. The hub's own settings hold: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. Raises ModelError
    that says why the model cannot be had.
    """
    try:
        from huggingface_hub import constants, errors, snapshot_download
    except ImportError:
        raise MissingExtraError(
            f"{name.repository}, no local folder and so a model of the hub,", "models"
        ) from None

    if found := cached(name):
        return found
    repository, page = name.repository, f"{constants.ENDPOINT}/{name.repository}"
    try:
        folder = Path(snapshot_download(repository, revision=name.revision, allow_patterns=name.patterns))
    except errors.GatedRepoError:
        raise ModelError(f"{repository} is gated: accept its terms at {page}, then: hf auth login") from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"the hub has no model {repository}; where it is a private one: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{repository} has no revision {name.revision} on the hub") from None
    except errors.LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise ModelError(f"{repository} cannot be fetched: {_first_line(error.__cause__)}") from None
        if constants.HF_HUB_OFFLINE:
            raise ModelError(f"{repository} is not in the hub's cache, and HF_HUB_OFFLINE is set") from None
        raise ModelError(
            f"{repository} is not in the hub's cache, and {constants.ENDPOINT} cannot be reached: "
            "connect once, or give a local folder"
        ) from None
    except ValueError as error:  # no name that the hub allows
        raise ModelError(f"no model {repository!r}: {_first_line(error)}") from None
    except Exception as error:  # of the HTTP client, which differs by the hub's version; or a full disk
        raise ModelError(f"{repository} cannot be fetched: {_first_line(error)}") from None
    if name.file and not (folder / name.file).is_file():
        raise ModelError(f"{repository} has no file {name.file} on the hub")
    return folder / name.file if name.file else folder


def _complete(folder: Path) -> bool:
    """Whether all was fetched. Other libraries fetch only what they read themselves, never the card."""
    shards = {
        index.parent / str(file)
        for index in folder.rglob("*.safetensors.index.json")
        for file in (read_json(index).get("weight_map") or {}).values()
    }
    weights = {*folder.rglob("*.safetensors"), *shards}
    return (folder / "README.md").is_file() and bool(weights) and all(file.is_file() for file in weights)


def _first_line(error: Exception) -> str:
    return f"{error}".partition("\n")[0] or type(error).__name__
