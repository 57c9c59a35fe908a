"""Encoded pictures without end, this process's share of them: from a folder, or from shards.

A stream can be stopped anywhere: its state is a few numbers, and a stream opened with them goes on exactly.
"""

from __future__ import annotations

import random
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from service.tokens.files import suffix_of
from service.tokens.names import escaped
from service.tokens.pictures import SUFFIXES
from training.data.found import SHARD_KINDS, find
from training.data.held_out import apart, split

BLOCK = 2048
"""Pictures of a shard that are shuffled among themselves; one block of encoded pictures is held in memory."""

State = dict[str, Any]


@runtime_checkable
class Stream(Protocol):
    """Encoded pictures, or files that hold them, without end."""

    left_out: str
    """A line on what else the folder holds, if anything."""
    changed: str
    """A line on how the pictures differ from those that its state was saved on, if they do."""

    def __next__(self) -> bytes | Path: ...

    def state(self) -> State:
        """Where the stream stands."""
        ...


def open_stream(
    pictures: str,
    *,
    seed: int,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    state: State | None = None,
    held_out_share: float = 0.0,
    held_out: bool = False,
    others: str | None = None,
) -> Stream:
    """The pictures of a folder, at any depth, or of the Parquet files or WebDataset archives in it.

    `pictures` may also be a pattern of such shards, on a disk or anywhere fsspec reaches
    (`s3://bucket/train-*.parquet`).

    A state that was saved on more or fewer of them goes on with those that there are. Of a folder, a share
    can be held out: the stream has the others, or only these. Pictures and shards that are among `others`,
    such as what is held out by name, are left out.

    Raises `ValueError` where there are no pictures or only such, where shards are fewer than processes, and
    for a state of shards where there is a folder, or the other way round.
    """
    found = find(pictures)
    if not found.shards and not found.paths:
        also = found.left_out and f"; {found.left_out}"
        raise ValueError(
            f"pictures: expected a folder with pictures ({', '.join(sorted(SUFFIXES))}) or shards "
            f"({', '.join(SHARD_KINDS)}), got {escaped(pictures)}{also}"
        )
    stream: Stream
    if others is not None:
        try:
            held_out_by_name = find(others)
        except ValueError as error:
            raise ValueError(f"held_out: {error}") from error
        found = apart(found, held_out_by_name)
    paths = found.paths
    if held_out_share and found.shards:
        raise ValueError(
            "held_out_share: pictures in shards are not told apart; expected others (held_out), or 0"
        )
    if held_out_share:
        paths = split(paths, pictures, held_out_share)[held_out]
    if found.shards:
        stream = ShardStream(found.shards, seed=seed, rank=rank, world_size=world_size, state=state)
    else:
        stream = FolderStream(
            paths, seed=seed, batch_size=batch_size, rank=rank, world_size=world_size, state=state
        )
    stream.left_out = found.left_out
    return stream


class FolderStream:
    """The files of a folder: each epoch has its own order, and epochs run into each other.

    All processes go through the same order; of each `world_size * batch_size` pictures in it a process takes
    its `batch_size`. So a step has the same pictures however many processes share it.
    """

    def __init__(
        self,
        paths: list[Path],
        *,
        seed: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        state: State | None = None,
    ) -> None:
        self.paths, self.left_out = paths, ""
        self.changed = _difference(state, "folder", "pictures", len(paths))
        self.seed, self.batch_size, self.rank = seed, batch_size, rank
        self.stride = world_size * batch_size
        self.taken: int = state["taken"] if state else 0
        self.epoch, self.order = -1, list[int]()

    def __next__(self) -> Path:
        step, place = divmod(self.taken, self.batch_size)
        epoch, index = divmod(step * self.stride + self.rank * self.batch_size + place, len(self.paths))
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            self.epoch, self.order = epoch, torch.randperm(len(self.paths), generator=generator).tolist()
        self.taken += 1
        return self.paths[self.order[index]]

    def state(self) -> State:
        return {"stream": "folder", "pictures": len(self.paths), "taken": self.taken}


class ShardStream:
    """The pictures of Parquet files or WebDataset archives, read one after the other and never as a whole.

    In each epoch the shards have a new order, and every process takes its own ones. Blocks of pictures are
    shuffled in memory; a stream that goes on in the middle of a block reads that block again.
    """

    def __init__(
        self, shards: list[str], *, seed: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> None:
        if len(shards) < world_size:
            raise ValueError(
                f"pictures: expected at least as many shards as processes, got {len(shards)} shards for "
                f"{world_size} processes"
            )
        self.left_out, self.told = "", False
        self.changed = _difference(state, "shards", "shards", len(shards))
        self.shards, self.seed, self.rank, self.world_size = shards, seed, rank, world_size
        self.place: State = {"epoch": 0, "block": 0, "start": None, "taken": 0}
        if self.changed and state is not None:  # where it stood, there may be others
            self.place["epoch"] = state["place"]["epoch"] + 1
        elif state is not None:
            self.place = state["place"]
        self.pictures = self._pictures(dict(self.place))

    def __next__(self) -> bytes:
        try:
            return next(self.pictures)
        except tarfile.TarError as error:
            raise ValueError(
                f"pictures: a shard is empty, cut or no .tar archive ({error}): find it by tar tf, and "
                "take it away or make it again"
            ) from error

    def state(self) -> State:
        return {"stream": "shards", "shards": len(self.shards), "place": dict(self.place)}

    def _pictures(self, place: State) -> Iterator[bytes]:
        skip = place["taken"]
        for epoch in _from(place["epoch"]):
            dataset = self._epoch(epoch)
            start, block = (place["start"], place["block"]) if epoch == place["epoch"] else (None, 0)
            if start is not None:
                dataset.load_state_dict(start)
            examples = iter(dataset)
            while pictures := _take(examples, BLOCK):
                random.Random(f"{self.seed} {epoch} {self.rank} {block}").shuffle(pictures)
                for taken in range(skip, len(pictures)):
                    self.place = {"epoch": epoch, "block": block, "start": start, "taken": taken + 1}
                    yield pictures[taken]
                skip, start, block = 0, dataset.state_dict(), block + 1

    def _epoch(self, epoch: int) -> Any:
        """A streaming dataset of this process's shards, with the encoded pictures alone."""
        from datasets import Image, load_dataset

        order = random.Random(f"{self.seed} {epoch}").sample(self.shards, len(self.shards))
        kind = SHARD_KINDS[suffix_of(self.shards[0])]
        own = order[self.rank :: self.world_size]
        try:
            dataset = load_dataset(kind, data_files=own, split="train", streaming=True)
        except (ValueError, tarfile.TarError) as error:  # Arrow's, too: it looks into the first one
            raise ValueError(f"pictures: {escaped(own[0])} holds none that can be read: {error}") from error
        column, *others = _picture_columns(dataset.features)
        if others and not self.told and self.rank == 0:
            self.told = True
            print(f"pictures: of each row {column} is taken, and not {', '.join(others)}", file=sys.stderr)
        return (
            dataset.select_columns([column])
            .cast_column(column, Image(decode=False))  # before it is renamed, which would decode pictures
            .rename_column(column, "picture")
        )


def _picture_columns(features: dict[str, Any]) -> list[str]:
    """The columns that hold pictures: by their type, or else by their name."""
    from datasets import Image

    typed = [name for name, feature in features.items() if isinstance(feature, Image)]
    named: list[str] = [
        name for name in ("image", "picture", "img", "jpg", "png", "webp") if name in features
    ]
    if not typed and not named:
        raise ValueError(f"pictures: expected a column of pictures, such as image, got {', '.join(features)}")
    return typed or named


def _take(examples: Iterator[dict[str, Any]], count: int) -> list[bytes]:
    """The next encoded pictures, as many as there are."""
    pictures: list[bytes] = []
    while len(pictures) < count and (example := next(examples, None)) is not None:
        content = (example["picture"] or {}).get("bytes")
        pictures.append(content or b"")  # an empty picture is an unreadable one
    return pictures


def _from(epoch: int) -> Iterator[int]:
    while True:
        yield epoch
        epoch += 1


def _difference(state: State | None, stream: str, what: str, count: int) -> str:
    """A line where a state was saved on another number of pictures or shards. Raises `ValueError`."""
    if state is None:
        return ""
    if state["stream"] != stream:
        raise ValueError(
            f"pictures: the run was saved on {_KINDS[state['stream']]}, and this is {_KINDS[stream]}"
        )
    if state[what] == count:
        return ""
    return f"pictures: {count} {what}, not {state[what]} as when it was saved: the run goes on with these"


_KINDS = {"folder": "a folder of pictures", "shards": "shards"}
