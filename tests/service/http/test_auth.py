"""API keys: from a variable, from a file, in two headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from service.errors import Unauthorized
from service.http.auth import Keys
from service.settings import Settings
from tests.service.server import Server, running


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


@pytest.mark.parametrize("sent", ["schlüssel à".encode(), "schlüssel à".encode("latin-1")])
def test_keys_beyond_ascii_open(server_with_keys: Server, sent: bytes) -> None:
    """As curl and as Python's own client send them; the file has a byte order mark before the first key."""
    for headers in ({b"x-api-key": sent}, {b"authorization": b"Bearer " + sent}):
        assert httpx.get(f"{server_with_keys.url}/models", headers=headers).status_code == 200
    wrong = {b"x-api-key": sent + b"\xc3\xbc"}
    assert httpx.get(f"{server_with_keys.url}/models", headers=wrong).status_code == 401


@pytest.fixture(scope="module")
def server_with_keys(tmp_path_factory: pytest.TempPathFactory, toy_models: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys").write_text("schlüssel à\nother\n", "utf-8-sig")
    settings = {"STELLAR_API_KEYS_FILE": str(folder / "keys")}
    with running(folder / "log", settings, "--models", str(toy_models)) as server:
        yield server


def test_only_what_the_page_names_asks_for_no_key(server_with_keys: Server) -> None:
    page = (Path(__file__).parents[3] / "SECURITY.md").read_text()
    told = set(re.findall(r"`(/[^`]*)`", page.partition("These ask for no key")[2].partition(". ")[0]))
    pages = {"/": "/", "/studio/app.js": "/studio/…", "/docs": "/docs", "/docs/swagger-ui.css": "/docs/…"}
    pages["/openapi.json"] = "/openapi.json"
    described = {path: path for path in server_with_keys.client.get("/openapi.json").json()["paths"]}
    asked = described | pages
    answers = {name: server_with_keys.client.get(path).status_code for path, name in asked.items()}
    assert {name for name, status in answers.items() if status == 200} == told
    assert {status for name, status in answers.items() if name not in told} <= {401, 405}


def test_file_that_is_not_utf_8_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes("schlüssel".encode("latin-1"))
    with pytest.raises(ValueError, match=r"api_keys_file: .*keys: expected UTF-8"):
        keys(api_keys_file=tmp_path / "keys")


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
