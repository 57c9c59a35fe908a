"""An error as an answer, in the words of the protocol that the caller speaks."""

from __future__ import annotations

from starlette.responses import Response

from service.errors import PROBLEM_TYPE, ServiceError
from service.responses import json_response

OPENAI_CODES = {"unauthorized": "invalid_api_key", "unknown_model": "model_not_found"}
"""What OpenAI calls an error for which its clients' users look; all others keep our code."""


def error_response(path: str, error: ServiceError, request_id: str) -> Response:
    """The answer to a request of `path`: OpenAI's, the Open Inference Protocol's, or a problem document."""
    if path.startswith("/v1/"):
        return _openai(error)
    if path == "/v2" or path.startswith("/v2/"):
        return json_response({"error": error.detail}, error.status, error.headers)
    return json_response(error.problem(request_id), error.status, error.headers, PROBLEM_TYPE)


def _openai(error: ServiceError) -> Response:
    """OpenAI knows no 422: input that can't be used is a 400 there."""
    status = 400 if error.status == 422 else error.status
    document = {
        "message": error.detail,
        "type": "server_error" if status >= 500 else "invalid_request_error",
        "param": error.param,
        "code": OPENAI_CODES.get(error.code, error.code),
    }
    return json_response({"error": document}, status, error.headers)
