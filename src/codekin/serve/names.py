"""What clients call the models that are served."""

from __future__ import annotations

from pathlib import Path


class ServedName:
    """A model's public name: of a local one, that of its folder.

    `id` is what answers say. Clients may use it, the name that the server was started with, or the last part of that.
    """

    def __init__(self, name: str) -> None:
        path = Path(name).expanduser()
        self.id = path.absolute().name if path.exists() else name
        self._names = {self.id, name, name.rpartition("/")[2]}

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @property
    def owner(self) -> str:
        """Who has made it, as the hub's names say."""
        return self.id.rpartition("/")[0] or "codekin"
