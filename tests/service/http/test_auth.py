"""API keys: from a variable, from a file, in two headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from service.errors import Unauthorized
from service.http.auth import Keys
from service.settings import Settings


def keys(**settings: Any) -> Keys:
    return Keys(Settings.model_validate(settings))


def asking(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_everybody_is_let_in_without_keys() -> None:
    keys().check(asking())
    keys().check(asking(authorization="Bearer anything"))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer one"},
        {"authorization": "bearer two"},
        {"authorization": "BEARER  one "},
        {"x_api_key": "two"},
    ],
)
def test_any_of_the_keys_opens(headers: dict[str, str]) -> None:
    keys(api_keys="one, two").check(asking(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer three"},
        {"authorization": "Bearer on"},
        {"authorization": "Bearer one, two"},
        {"authorization": "Basic one"},
        {"authorization": "one"},
        {"x_api_key": "One"},
        {"x_api_key": "\xfcber"},
    ],
)
def test_others_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        keys(api_keys="one,two").check(asking(**headers))


def test_keys_stand_in_a_file_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n\n  two  \n")
    for key in ("one", "two", "three"):
        keys(api_keys="three", api_keys_file=file).check(asking(x_api_key=key))
    with pytest.raises(Unauthorized):
        keys(api_keys_file=file).check(asking(x_api_key=""))


def test_file_without_keys_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n \n")
    with pytest.raises(ValueError, match="expected at least one key"):
        keys(api_keys_file=tmp_path / "keys")
    with pytest.raises(ValueError, match=r"api_keys_file: .*: No such file"):
        keys(api_keys_file=tmp_path / "absent")


@pytest.mark.parametrize("empty", ["", " ", ","])
def test_empty_list_of_keys_stops_the_start(empty: str) -> None:
    """It was meant to protect something."""
    with pytest.raises(ValueError, match="expected at least one key"):
        keys(api_keys=empty)


def test_keys_are_not_shown_by_the_objects_that_hold_them() -> None:
    settings = Settings.model_validate({"api_keys": "swordfish"})
    holder = Keys(settings)
    assert "swordfish" not in repr(settings)
    assert "swordfish" not in repr(vars(holder))
