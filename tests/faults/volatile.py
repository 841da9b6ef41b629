"""A disk that loses what was not synced, as a power failure does.

From the operations of a piece of code it makes every state in which the disk can be left after any number of them.
Content that was not synced is gone, or there by half, or zeros; entries of a folder that was not synced (a new
name, a rename) are gone, or some of them are.

Source: LevelDB's ``util/fault_injection_test.cc`` drops unsynced data and unsynced entries in the same way.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.faults.disk import Operation

KEEPS = ("nothing", "half", "zeros", "all")
"""What becomes of content that was not synced."""


@dataclass
class _File:
    content: bytes = b""
    synced: bytes = b""

    def left(self, keep: str) -> bytes:
        if keep == "all":
            return self.content
        if keep == "half":
            return self.content[: max(len(self.synced), len(self.content) // 2)]
        if keep == "zeros":
            return self.synced + bytes(len(self.content) - len(self.synced))
        return self.synced


@dataclass
class _Folder:
    entries: dict[str, _Node] = field(default_factory=dict)
    safe: dict[str, _Node] = field(default_factory=dict)
    """The entries that are on the disk."""


_Node = _File | _Folder
_Change = tuple[_Folder, dict[str, "_Node | None"]]
"""Of a folder's entries, at once or not at all."""


class VolatileDisk:
    """The contents of a folder, with what is safe of them."""

    def __init__(self, root: Path) -> None:
        """What lies in a folder now is safe."""
        self._root = _read(root)
        self._unsafe: list[_Change] = []

    def apply(self, operation: Operation) -> None:
        """Take in the next operation."""
        path, target = PurePosixPath(operation.path), PurePosixPath(operation.target)
        match operation.kind:
            case "open":
                found = self._folder(path).entries.get(path.name)
                if isinstance(found, _File):
                    found.content = b""
                else:
                    self._change(path, {path.name: _File()})
            case "write":
                file = self._node(path)
                assert isinstance(file, _File)
                file.content += operation.data
            case "sync":
                file = self._node(path)
                assert isinstance(file, _File)
                file.synced = file.content
            case "sync folder":
                self._sync_folder(path)
            case "rename":
                assert path.parent == target.parent
                self._change(path, {path.name: None, target.name: self._node(path)})
            case "link":
                self._change(target, {target.name: self._node(path)})
            case "make folder":
                self._change(path, {path.name: _Folder()})
            case "remove" | "remove folder":
                self._change(path, {path.name: None})

    def states(self) -> Iterator[tuple[str, dict[str, bytes | None]]]:
        """In words and as path to content (None for a folder), each state that a failure may leave."""
        count = len(self._unsafe)
        choices = {"no entry": (), "all entries": tuple(range(count))}
        for i in range(count):
            choices[f"the first {i} entries"] = tuple(range(i))
            choices[f"all entries but number {i}"] = tuple(j for j in range(count) if j != i)
            choices[f"entry number {i} alone"] = (i,)
        for words, kept in choices.items():
            for keep in KEEPS:
                yield f"{words}, {keep} of the content", self._left(kept, keep)

    def _left(self, kept: Sequence[int], keep: str) -> dict[str, bytes | None]:
        entries: dict[int, dict[str, _Node]] = {}
        for number in kept:
            folder, change = self._unsafe[number]
            _put(entries.setdefault(id(folder), dict(folder.safe)), change)
        found: dict[str, bytes | None] = {}

        def walk(folder: _Folder, prefix: str) -> None:
            for name, node in entries.get(id(folder), folder.safe).items():
                if isinstance(node, _Folder):
                    found[prefix + name] = None
                    walk(node, f"{prefix}{name}/")
                else:
                    found[prefix + name] = node.left(keep)

        walk(self._root, "")
        return found

    def _node(self, path: PurePosixPath) -> _Node:
        node: _Node = self._root
        for part in path.parts:
            assert isinstance(node, _Folder)
            node = node.entries[part]
        return node

    def _folder(self, path: PurePosixPath) -> _Folder:
        folder = self._node(path.parent)
        assert isinstance(folder, _Folder)
        return folder

    def _change(self, path: PurePosixPath, change: dict[str, _Node | None]) -> None:
        folder = self._folder(path)
        _put(folder.entries, change)
        self._unsafe.append((folder, change))

    def _sync_folder(self, path: PurePosixPath) -> None:
        synced = self._node(path)
        assert isinstance(synced, _Folder)
        for folder, change in self._unsafe:
            if folder is synced:
                _put(folder.safe, change)
        self._unsafe = [unsafe for unsafe in self._unsafe if unsafe[0] is not synced]


def _put(entries: dict[str, _Node], change: dict[str, _Node | None]) -> None:
    for name, node in change.items():
        entries.pop(name, None)
        if node is not None:
            entries[name] = node


def _read(path: Path) -> _Folder:
    folder = _Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.entries[entry.name] = _read(entry)
        else:
            content = entry.read_bytes()
            folder.entries[entry.name] = _File(content, content)
    folder.safe = dict(folder.entries)
    return folder


def make(state: dict[str, bytes | None], root: Path) -> None:
    """Make a folder of a state, in place of what is there."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for name, content in state.items():
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)


def worth_reading(state: dict[str, bytes | None]) -> tuple[tuple[str, bytes | None], ...]:
    """What tells states apart for readers: of a temporary file or folder they see no more than its name."""
    seen: dict[str, bytes | None] = {}
    for name, content in state.items():
        parts = name.split("/")
        hidden = next((i for i, part in enumerate(parts) if part.startswith(".")), None)
        if hidden is None:
            seen[name] = content
        else:
            seen["/".join(parts[: hidden + 1])] = None
    return tuple(sorted(seen.items()))
