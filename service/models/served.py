"""One bundle behind its batcher, as requests use it.

H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from service.batching.batcher import Batcher, Item
from service.batching.lanes import Admission, Lane
from service.errors import BadOption
from service.runtime.bundle import Manifest
from service.runtime.engine import CONCEPTS, OUTPUTS, VECTORS
from service.tokens.choices import Pooling
from service.tokens.types import Floats, Pixels, Tokens


class ServedModel:
    """One bundle behind its batcher."""

    def __init__(self, manifest: Manifest, batcher: Batcher, admission: Admission) -> None:
        self.manifest = manifest
        self._batcher = batcher
        self._admission = admission

    @property
    def id(self) -> str:
        """name@version."""
        return self.manifest.id

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of what it runs on."""
        return self._batcher.provider

    @property
    def reason(self) -> str | None:
        """Why it can't be used at the moment, or None where it can."""
        return self._batcher.reason

    @contextmanager
    def admit(self, client: str, count: int, *, at_once: int) -> Iterator[Lane]:
        """Keep places for `count` images until they are done, from before they are decoded; in which lane.

        Of more than `at_once` only as many are at work at the same time, and have places. Raises
        `Unavailable` where they would not fit: what waits to be decoded is bounded too.
        """
        lane = self._admission.lane(client, count)
        places = min(count, at_once)
        self._batcher.ensure_capacity("encode", places, lane)
        with self._admission.admit(client, places, lane):
            yield lane

    @contextmanager
    def weigh(self, client: str, weight: int, lane: Lane) -> Iterator[Lane]:
        """Count an admitted image as `weight` ones while it is at work; in which lane it goes."""
        if weight <= 1:
            yield lane
            return
        with self._admission.weigh(client, weight - 1):
            yield "bulk" if self._admission.lane(client, 0) == "bulk" else lane

    def pooling(self, asked: Pooling | None) -> Pooling:
        """Which vector to give: the one that is asked for, or the model's own choice.

        Raises `BadOption` where the model has no such vector.
        """
        try:
            return self.manifest.pooling(asked)
        except ValueError as error:
            raise BadOption(f"{error}.", param="pooling") from None

    async def encode(self, image: Item, *, concepts: bool = False, deadline: float, lane: Lane) -> Tokens:
        """Tokens of a picture, or of pixels (H, W, 3) of the model's own size under the name `image`.

        With `concepts`, these too, where the model has them.
        """
        more = (CONCEPTS,) if concepts and CONCEPTS in self.manifest.poolings else ()
        outputs = (*OUTPUTS["encode"], *more)
        out = await self._batcher.submit("encode", image, outputs=outputs, deadline=deadline, lane=lane)
        # The engine checked names and types.
        return Tokens(out["semantics"], out["localization"], out["cls"], out.get(CONCEPTS))  # type: ignore[arg-type]

    async def embed(self, image: Item, pooling: Pooling, *, deadline: float, lane: Lane) -> Floats:
        """The vector of a picture, (D,), or with one of `LISTS` those of its tokens, (r, D)."""
        output = VECTORS[pooling]
        out = await self._batcher.submit("encode", image, outputs=(output,), deadline=deadline, lane=lane)
        return out[output]  # type: ignore[return-value]

    async def decode(self, semantics: Floats, localization: Floats, *, deadline: float, lane: Lane) -> Pixels:
        """The image (H, W, 3) that tokens stand for."""
        arrays = {"semantics": semantics, "localization": localization}
        out = await self._batcher.submit(
            "decode",
            arrays,  # type: ignore[arg-type]
            outputs=OUTPUTS["decode"],
            deadline=deadline,
            lane=lane,
        )
        return out["image"]  # type: ignore[return-value]

    def show(self) -> None:
        """Let the metrics tell of this one, among the versions of its name."""
        self._batcher.show()

    async def close(self) -> None:
        """Stop its batcher."""
        await self._batcher.close()
