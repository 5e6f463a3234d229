"""The order of the tests: what takes long comes first, so that two workers end together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.conftest import LONG, TESTS, pytest_collection_modifyitems


def files(*names: str) -> list[Any]:
    return [SimpleNamespace(path=TESTS / name) for name in names]


def test_long_folders_come_first_and_the_others_stay_as_they_are() -> None:
    names = ("agent/test_a.py", "rooms/test_b.py", "test_c.py", "docs/test_d.py", "rooms/test_a.py", "wire/test_a.py")
    items = files(*names)
    pytest_collection_modifyitems(items)
    ordered = [item.path.relative_to(TESTS) for item in items]
    assert ordered[:3] == [Path("rooms/test_b.py"), Path("rooms/test_a.py"), Path("docs/test_d.py")]
    assert ordered[3:] == [Path("agent/test_a.py"), Path("test_c.py"), Path("wire/test_a.py")]


def test_a_file_outside_this_folder_comes_last() -> None:
    """pytest may be given any."""
    outside, inside = items = files("/elsewhere/rooms/test_a.py", "rooms/test_a.py")
    pytest_collection_modifyitems(items)
    assert items == [inside, outside]


def test_every_long_folder_is_there() -> None:
    assert [name for name in LONG if not (TESTS / name).is_dir()] == []


def test_workers_take_the_files_in_this_order() -> None:
    """By itself xdist sorts them by how many tests they have."""
    lines = (TESTS.parent / "Makefile").read_text().splitlines()
    assert any("-m pytest" in line and "--dist loadfile --no-loadscope-reorder" in line for line in lines)
