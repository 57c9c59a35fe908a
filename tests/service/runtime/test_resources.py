"""What a process may use, by its control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.runtime import resources


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000\n"}, 1000),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "2000\n"}, 2000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_memory_is_the_control_group_s_or_the_machine_s(
    files: dict[str, str], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "CONTROL_GROUPS", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    if expected is None:
        assert resources.available_memory() > 2**28
    else:
        assert resources.available_memory() == expected
