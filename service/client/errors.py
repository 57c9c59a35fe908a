"""What goes wrong for a client: the service's problems as exceptions, and what it can't tell itself."""

from __future__ import annotations

import httpx

MAX_TEXT_CHARACTERS = 200


class StellarError(Exception):
    """An error of the service, or of the way to it.

    `code` is stable: the service's own codes, and of the client `unreachable` (no answer, also not when tried
    again), `unreadable_file` (a file that could not be read here) and `http_error` (an answer that is not the
    service's, as from a proxy). `status` is the HTTP status, None where there was no answer; a picture that
    is refused here has the service's code and status. `request_id` is what the service's log knows the
    request by.
    """

    def __init__(self, code: str, detail: str, status: int | None = None, request_id: str | None = None):
        super().__init__(code, detail, status, request_id)
        self.code = code
        self.detail = detail
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{self.detail} ({self.code}{request})"

    @property
    def concerns_picture(self) -> bool:
        """Whether another picture may fare better: what stands in a stream's results and does not end it."""
        return self.code == "unreadable_file" or self.status in (413, 422, 500, 504)


def problem_of(response: httpx.Response) -> StellarError:
    """The error that an answer tells."""
    request_id = response.headers.get("x-request-id")
    try:
        document = response.json()
        return StellarError(document["code"], document["detail"], response.status_code, request_id)
    except (ValueError, KeyError, TypeError):
        kind = response.headers.get("content-type", "no type")
        detail = (
            f"expected an answer of the service from {response.url}, got status {response.status_code} "
            f"with {kind}: {response.text[:MAX_TEXT_CHARACTERS]}"
        )
        return StellarError("http_error", detail, response.status_code, request_id)
