"""Optional API keys: with none set, everybody is let in."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from service.errors import Unauthorized
from service.settings import Settings

if TYPE_CHECKING:  # the supervisor of several processes reads the keys, too, and does without the framework
    from starlette.requests import Request


class Keys:
    """The accepted keys, as hashes."""

    def __init__(self, settings: Settings) -> None:
        """Read the keys. Raises `ValueError` for a file that can't be read or holds none."""
        asked = settings.api_keys is not None or settings.api_keys_file is not None
        listed = settings.api_keys.get_secret_value().split(",") if settings.api_keys else []
        if settings.api_keys_file is not None:
            try:
                listed += settings.api_keys_file.read_text("utf-8-sig").splitlines()
            except OSError as error:
                raise ValueError(f"api_keys_file: {settings.api_keys_file}: {error.strerror}") from error
            except UnicodeDecodeError:
                raise ValueError(f"api_keys_file: {settings.api_keys_file}: expected UTF-8") from None
        self._digests = [_digest(key.strip()) for key in listed if key.strip()]
        if asked and not self._digests:
            raise ValueError("api_keys: expected at least one key, got none")

    def check(self, request: Request) -> str:
        """Who asks by HTTP. Raises `Unauthorized`."""
        address = request.client.host if request.client else ""
        return self.client(_header(request, "authorization"), _header(request, "x-api-key"), address)

    def client(self, authorization: str, api_key: str, address: str) -> str:
        """Who asks: the key's digest, or the address where no keys are set.

        Raises `Unauthorized` unless the request carries an accepted key.

        It stands in `Authorization: Bearer KEY` or `X-API-Key: KEY`. Every known key is compared, each in
        constant time.
        """
        if not self._digests:
            return address
        scheme, _, bearer = authorization.partition(" ")
        key = api_key or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not key:
            raise Unauthorized("This service wants an API key: Authorization: Bearer KEY, or X-API-Key: KEY.")
        given = _digest(key)
        if sum(hmac.compare_digest(given, known) for known in self._digests) == 0:
            raise Unauthorized("The API key is not accepted.")
        return given.hex()


def _header(request: Request, name: str) -> str:
    """A header in UTF-8, which most clients send; what is none is left in Latin-1, which some do."""
    value = request.headers.get(name, "")
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
