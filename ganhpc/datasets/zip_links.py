"""Links among the members of a zip, followed once, as those in a folder are: within the zip only, which is never unpacked."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

_MOST_LINKS = 40
"""Links behind one another that are followed, as the system does."""
LONGEST = 4096
"""Bytes of a link's target that are read."""


class _Broken(Exception):
    """A link that leads to no member; its text says why."""


@dataclass
class Links:
    """The links of a zip and its other members, by their paths without `.` and with slashes between the parts."""

    targets: dict[str, str]
    """A link's path -> what is written in it."""
    files: frozenset[str]
    hidden: Callable[[str], bool]
    taken: dict[str, str] = field(default_factory=dict)
    """A file that is taken -> the name under which."""
    _folders: set[str] = field(default_factory=set)
    """Hidden folders that a link has led to."""

    def __post_init__(self) -> None:
        self._all = {folder for name in (*self.files, *self.targets) for folder in _above(name)}

    def follow(self, name: str) -> Iterator[tuple[str, str, str]]:
        """(name, file, "") for each file that the link `name` leads to and that is not taken yet, by its name through the link; or
        (name, "", why) where nothing is taken."""
        waiting = [(name, name)]
        while waiting:
            link, member = waiting.pop(0)
            try:
                found = self._resolved(member)
            except _Broken as error:
                yield link, "", str(error)
                continue
            if found in self.files:
                yield self._file(link, found)
            elif self._is_taken(found):
                yield f"{link}/", "", "a link to a folder that is taken already"
            else:
                self._folders.add(found)
                below = sorted(each for each in (*self.files, *self.targets) if each.startswith(f"{found}/"))
                for each in below:
                    rest = each.removeprefix(f"{found}/")
                    if self.hidden(rest):
                        continue
                    if each in self.targets:
                        waiting.append((f"{link}/{rest}", each))
                    else:
                        yield self._file(f"{link}/{rest}", each)

    def _file(self, name: str, found: str) -> tuple[str, str, str]:
        if found in self.taken:
            return name, "", f"a link to {self.taken[found]}, which is taken already"
        self.taken[found] = name
        return name, found, ""

    def _is_taken(self, folder: str) -> bool:
        """True if the folder's visible files are taken: it is visible itself, or lies visibly in one that a link has led to."""
        if not self.hidden(folder):
            return True
        return any(
            folder == each or (folder.startswith(f"{each}/") and not self.hidden(folder[len(each) + 1 :]))
            for each in self._folders
        )

    def _resolved(self, name: str) -> str:
        """The file or folder that the link `name` leads to, through further links. Raises _Broken."""
        path, followed = name, 0
        while True:
            link = next((each for each in (*_above(path), path) if each in self.targets), None)
            if link is None:
                break
            followed += 1
            if followed > _MOST_LINKS:
                raise _Broken("a link that leads in a circle")
            path = _joined(posixpath.dirname(link), self.targets[link] + path[len(link) :])
        if path and path not in self.files and path not in self._all:
            raise _Broken("a link to nothing in the zip")
        return path


def _above(name: str) -> Iterable[str]:
    """The folders that a member lies in, from above."""
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def _joined(folder: str, target: str) -> str:
    """The path of `target` seen from `folder`. Raises _Broken where it leads out of the zip."""
    path = posixpath.normpath(posixpath.join(folder, target))
    if path == ".." or path.startswith(("../", "/")):
        raise _Broken("a link that leads out of the zip")
    return "" if path == "." else path


def plain(name: str) -> str:
    """A member's path without `.` and with slashes; zips of Windows may have backslashes."""
    return posixpath.normpath(name.replace("\\", "/"))
