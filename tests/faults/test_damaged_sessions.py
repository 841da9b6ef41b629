"""Row 9: damage to the compiled sessions. They are compiled again; what is damaged is never trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from logbert_engine.data.store import Store, open_store
from tests.faults.damages import DAMAGES, swap

pytestmark = pytest.mark.row(9)

Seen = Callable[[str, object], None]
FEW = ("flipped at 0.9", "truncated by a byte", "of another stage")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of other sessions each."""
    made = []
    for name, length in (("a.json", 3), ("b.json", 4)):
        records = [
            {"session_id": i, "event_sequence": [1, 2, 3 + i % 7][:length]} for i in range(40 * length)
        ]
        (tmp_path / name).write_text(json.dumps(records))
        made.append(tmp_path / name)
    return made[0], made[1]


def content(store: Store) -> list[tuple[int | str, list[int | str]]]:
    return [
        (store.session_id(i), [store.events[token] for token in store.sequence(int(store.sequence_of[i]))])
        for i in range(store.n_sessions)
    ]


@pytest.mark.parametrize("kinds", [FEW, pytest.param(tuple(DAMAGES), marks=pytest.mark.slow)])
def test_a_damaged_file_is_never_used(
    files: tuple[Path, Path], record_property: Seen, kinds: tuple[str, ...]
) -> None:
    store, other = (open_store([file]) for file in files)
    wanted, folder = content(store), store.path
    pristine = folder.with_name("pristine")
    shutil.copytree(folder, pristine)
    count = 0
    for path in sorted(pristine.iterdir()):
        for damage in [DAMAGES[kind] for kind in kinds] if path.stat().st_size else []:
            shutil.rmtree(folder)
            shutil.copytree(pristine, folder)
            damage(folder / path.name, other.path / path.name)
            compiled: list[int] = []
            again = open_store([files[0]], progress=lambda done, _total: compiled.append(done))  # noqa: B023
            changed = damage is not swap or path.read_bytes() != (other.path / path.name).read_bytes()
            assert bool(compiled) == changed, path.name
            assert content(again) == wanted
            count += 1
    record_property("damaged files", count)


def test_the_store_of_other_sessions_is_never_used(files: tuple[Path, Path]) -> None:
    store, other = (open_store([file]) for file in files)
    wanted = content(store)
    shutil.rmtree(store.path)
    shutil.copytree(other.path, store.path)
    assert content(open_store([files[0]])) == wanted
