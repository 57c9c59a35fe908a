"""The client for asyncio; the blocking one runs it.

r sparse tokens · D width
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Any, TypeVar

import httpx
import numpy as np
from httpx_retries import Retry, RetryTransport
from numpy.typing import NDArray
from PIL import Image

from service.client.errors import StellarError, problem_of
from service.client.patience import patience
from service.client.pictures import Picture, decoded, encoded
from service.client.served import ServedModels
from service.client.stream import Result, in_order
from service.tokens.box import WHOLE, Box, box_text
from service.tokens.choices import Fit, Pooling
from service.tokens.token_file import SAFETENSORS, ImageTokens, Storage, pack, unpack

DEFAULT_URL = "http://127.0.0.1:8000"
JSON, NPY, PNG = "application/json", "application/x-npy", "image/png"
NO_RETRY = {"retry": Retry(total=0)}

P = TypeVar("P", bound=Picture)
Drawable = TypeVar("Drawable", bound=Picture | ImageTokens)
Edits = Sequence[Mapping[str, Any]]
"""Edits as /reconstruct takes them, such as `{"op": "drop", "token": 3}`."""


class AsyncStellarClient:
    """Asks a service for vectors, tokens and pictures.

    All methods raise `StellarError` with the service's `code`, and `ValueError` for arrays that are no
    picture. Where the service is overloaded or away for a moment, they try again: after the time that the
    service names, if it does, and a random one that grows.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        model: str | None = None,
        concurrency: int = 8,
        retries: int = 5,
        timeout_s: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Nothing is sent yet.

        `model` is a name or name@version, None for the service's default. At most `concurrency` pictures are
        on their way at any time. An answer may take `timeout_s`; what fails is tried `retries` times more.
        `transport` is httpx's: for proxies, certificates of one's own, or an application in this process.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency: expected at least 1, got {concurrency}")
        self._url = url
        self._model = {} if model is None else {"model": model}
        self._concurrency = concurrency
        self._places = asyncio.Semaphore(concurrency)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"user-agent": f"stellar-service/{version('stellar-service')}"}
            | ({"x-api-key": api_key} if api_key else {}),
            timeout=httpx.Timeout(timeout_s, pool=None),
            transport=RetryTransport(transport or httpx.AsyncHTTPTransport(), patience(retries)),
        )

    async def __aenter__(self) -> AsyncStellarClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def embed(
        self,
        picture: Picture,
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        fit: Fit = "crop",
        box: Box = WHOLE,
    ) -> NDArray[np.float32]:
        """The picture's vector (D,), or with the poolings `tokens` and `concepts` each token's (r, D).

        Without one the model chooses: `models` tells its `poolings`, the first of which it is.
        `box` is the part of the picture that the model sees: left, top, right and bottom, from 0 to 1.
        """
        params = {"normalize": normalize, **_view(fit, box)} | ({"pooling": pooling} if pooling else {})
        answer = await self._send("/embed", NPY, params, picture)
        (vector,) = np.load(io.BytesIO(answer))
        return vector  # type: ignore[no-any-return]

    async def tokens(
        self, picture: Picture, *, storage: Storage = "full", fit: Fit = "crop", box: Box = WHOLE
    ) -> ImageTokens:
        """What is in the picture and where; `storage="compact"` sends a quarter of the bytes, rounded."""
        params = {"storage": storage, **_view(fit, box)}
        (tokens,) = unpack(await self._send("/tokens", SAFETENSORS, params, picture))
        return tokens

    async def heatmaps(self, picture: Picture, *, fit: Fit = "crop", box: Box = WHOLE) -> Image.Image:
        """A sheet that shows the picture, its tokens' regions and each token's map."""
        return decoded(await self._send("/tokens", PNG, _view(fit, box), picture))

    async def reconstruct(
        self,
        picture: Picture | ImageTokens,
        *,
        edits: Edits = (),
        donors: Sequence[Picture] = (),
        fit: Fit = "crop",
        box: Box = WHOLE,
    ) -> Image.Image:
        """The picture that the tokens of a picture stand for, after edits.

        `donors` are the pictures that the edits `replace` and `blend` may take tokens from, by their index.
        """
        params = {"edits": json.dumps(list(edits)), **_view(fit, box)}
        return decoded(await self._send("/reconstruct", PNG, params, picture, donors))

    def embed_all(
        self,
        pictures: Iterable[P],
        *,
        pooling: Pooling | None = None,
        normalize: bool = True,
        fit: Fit = "crop",
        box: Box = WHOLE,
        progress: bool = False,
    ) -> AsyncGenerator[Result[P, NDArray[np.float32]], None]:
        """The vectors of any number of pictures, as they come, in their order.

        A picture that can't be embedded has its error in its result and stops no other. What concerns them
        all (a wrong key, a service that is away for good) is raised. Few pictures are held at a time, and
        `pictures` is read in threads, no further than needed.
        """
        ask = partial(self.embed, pooling=pooling, normalize=normalize, fit=fit, box=box)
        return in_order(pictures, ask, at_once=self._held, progress="embed" if progress else None)

    def tokens_all(
        self,
        pictures: Iterable[P],
        *,
        storage: Storage = "full",
        fit: Fit = "crop",
        box: Box = WHOLE,
        progress: bool = False,
    ) -> AsyncGenerator[Result[P, ImageTokens], None]:
        """The tokens of any number of pictures, as `embed_all` does it."""
        ask = partial(self.tokens, storage=storage, fit=fit, box=box)
        return in_order(pictures, ask, at_once=self._held, progress="tokens" if progress else None)

    def reconstruct_all(
        self,
        pictures: Iterable[Drawable],
        *,
        edits: Edits = (),
        donors: Sequence[Picture] = (),
        fit: Fit = "crop",
        box: Box = WHOLE,
        progress: bool = False,
    ) -> AsyncGenerator[Result[Drawable, Image.Image], None]:
        """The reconstructions of any number of pictures or tokens, as `embed_all` does it."""
        ask = partial(self.reconstruct, edits=edits, donors=donors, fit=fit, box=box)
        return in_order(pictures, ask, at_once=self._held, progress="reconstruct" if progress else None)

    async def models(self) -> ServedModels:
        """What is served."""
        return ServedModels.model_validate_json(await self._request("GET", "/models", JSON))

    async def live(self) -> bool:
        """Whether the service answers at all, asked once."""
        return await self._answers("/healthz/live")

    async def ready(self) -> bool:
        """Whether the service can serve now, asked once."""
        return await self._answers("/healthz/ready")

    @property
    def _held(self) -> int:
        """Pictures and results of a stream: beside those on their way, as many that wait for their turn."""
        return 2 * self._concurrency

    async def _send(
        self,
        route: str,
        accept: str,
        options: Mapping[str, Any],
        picture: Picture | ImageTokens,
        donors: Sequence[Picture] = (),
    ) -> bytes:
        async with self._places:
            files = await asyncio.to_thread(_files, picture, donors)
            return await self._request("POST", route, accept, data={**self._model, **options}, files=files)

    async def _answers(self, path: str) -> bool:
        try:
            await self._request("GET", path, JSON, extensions=NO_RETRY)
        except StellarError:
            return False
        return True

    async def _request(self, method: str, path: str, accept: str, **content: Any) -> bytes:
        """The content of an answer of the type that is accepted. Raises `StellarError`."""
        try:
            answer = await self._http.request(method, path, headers={"accept": accept}, **content)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            detail = f"no answer from {self._url}: {error or type(error).__name__}"
            raise StellarError("unreachable", detail) from error
        if not answer.is_success or answer.headers.get("content-type") != accept:
            raise problem_of(answer)
        return answer.content


def _view(fit: Fit, box: Box) -> dict[str, str]:
    """The options that say what a model sees of a picture."""
    return {"fit": fit} | ({} if box == WHOLE else {"box": box_text(box)})


def _files(picture: Picture | ImageTokens, donors: Sequence[Picture]) -> list[tuple[str, tuple[str, bytes]]]:
    """A form's files: `image` or `tokens`, and donors."""
    if isinstance(picture, ImageTokens):
        files = [("tokens", pack([picture]))]
    else:
        files = [("image", encoded(picture))]
    files += [("donor", encoded(donor)) for donor in donors]
    return [(name, (name, data)) for name, data in files]
