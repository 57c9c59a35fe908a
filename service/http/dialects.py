"""An error as an answer, in the words of the protocol that the caller speaks."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.responses import Response

from service.errors import PROBLEM_TYPE, ServiceError
from service.http.responses import JSON

OPENAI_CODES = {"unauthorized": "invalid_api_key", "unknown_model": "model_not_found"}
"""What OpenAI calls an error for which its clients' users look; all others keep our code."""

OPENAI_PATHS = re.compile(r"(?:/v1)*/(embeddings|completions|chat/completions|responses|images/\w+|rerank)/?")
"""What OpenAI's clients ask for, wherever their base URL points."""
OURS = re.compile(r"/v1/(embed|tokens|reconstruct)")


def where_it_is(path: str) -> str:
    """What to tell of a path that is none."""
    asked = OPENAI_PATHS.fullmatch(path)
    if asked and asked[1] != "embeddings":
        return (
            f"There is no {path} here: the service embeds pictures, by /v1/embeddings, and lists its models."
        )
    if path != "/v1/" and path.endswith("/"):
        return f"There is nothing at {path}: leave away the slash at its end."
    if asked or path in ("/v1", "/v1/") or path.startswith("/v1/embeddings/"):
        return f"There is nothing at {path}: OpenAI's clients take http://HOST:PORT/v1 as their base URL."
    if ours := OURS.fullmatch(path):
        return f"There is nothing at {path}: /{ours[1]} has no /v1 before it."
    if path.startswith("/models/"):
        return f"There is nothing at {path}: /models lists all, and /v1/models/NAME is one of them."
    return f"There is nothing at {path}: /docs has every route."


def what_it_takes(method: str, path: str, allowed: str) -> str:
    """What to tell of a path that takes other methods."""
    if (method, path) == ("POST", "/"):
        return "POST is not taken at /: send pictures to /embed, /tokens, /reconstruct or /v1/embeddings."
    return f"{method} is not taken at {path}: send {allowed}."


def error_response(path: str, error: ServiceError, request_id: str) -> Response:
    """The answer to a request of `path`: OpenAI's, the Open Inference Protocol's, or a problem document."""
    if path == "/v1" or path.startswith("/v1/") or OPENAI_PATHS.fullmatch(path):
        return _openai(error)
    if path == "/v2" or path.startswith("/v2/"):
        return _answer({"error": error.detail}, error.status, error)
    return _answer(error.problem(request_id), error.status, error, PROBLEM_TYPE)


def _openai(error: ServiceError) -> Response:
    """OpenAI knows no 422: input that can't be used is a 400 there."""
    status = 400 if error.status == 422 else error.status
    document = {
        "message": error.detail,
        "type": "server_error" if status >= 500 else "invalid_request_error",
        "param": error.param,
        "code": OPENAI_CODES.get(error.code, error.code),
    }
    return _answer({"error": document}, status, error)


def _answer(document: dict[str, Any], status: int, error: ServiceError, media_type: str = JSON) -> Response:
    """It may quote text that is no sound Unicode, which the standard library's JSON escapes."""
    return Response(json.dumps(document, separators=(",", ":")), status, error.headers, media_type)
