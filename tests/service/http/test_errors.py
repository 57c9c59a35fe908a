"""The tree of errors is what its docstring draws, and every leaf carries its own answer."""

from __future__ import annotations

import re

import pytest

from service import errors
from service.errors import InternalError, QueueFull, ServiceError, Unauthorized


def leaves(kind: type[ServiceError]) -> list[type[ServiceError]]:
    return [kind, *(leaf for sub in kind.__subclasses__() for leaf in leaves(sub))]


TREE = [kind for kind in leaves(ServiceError) if kind.__module__ == errors.__name__]


def test_docstring_draws_the_whole_tree() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__)
    assert sorted(drawn) == sorted(kind.__name__ for kind in TREE if kind is not ServiceError)


def test_codes_are_distinct() -> None:
    codes = [kind.code for kind in TREE if kind is not InternalError]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z_]+", code) for code in codes)


@pytest.mark.parametrize("kind", [kind for kind in TREE if kind is not InternalError])
def test_problem_has_what_rfc_9457_names(kind: type[ServiceError]) -> None:
    problem = kind("because").problem("some-id")
    assert "because" in problem.pop("detail")
    assert problem == {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "request_id": "some-id",
    }


def test_long_detail_is_cut() -> None:
    assert ServiceError("x" * 501).detail == "x" * 499 + "…"
    assert ServiceError("x" * 500).detail == "x" * 500


def test_headers_say_what_to_do_next() -> None:
    assert QueueFull("full").headers == {"retry-after": "1"}
    assert Unauthorized("who").headers == {"www-authenticate": "Bearer"}
