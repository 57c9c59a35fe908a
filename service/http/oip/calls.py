"""A call of a model, however it came: its inputs, its parameters, and which outputs are wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

from service.errors import BadTensor
from service.http.oip.tensors import Tensor, TensorSpec
from service.http.options import Sent

MAX_TENSORS = 16
"""Most inputs or outputs that a request may name; a stage has three at most."""
MAX_MICROSECONDS = 10**15
"""Some thirty years."""

Name = Annotated[str, Field(max_length=256)]


class Parameters(Sent):
    """Parameters that every model takes."""

    model_config = ConfigDict(extra="forbid")
    binary_data_output: bool = False
    timeout: int = Field(
        0, ge=0, le=MAX_MICROSECONDS, description="In microseconds; 0: the service's own limit."
    )

    @property
    def timeout_s(self) -> float:
        """The timeout in seconds; infinite where there is none."""
        return self.timeout / 1e6 or math.inf


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request, understood."""

    id: str | None
    inputs: dict[str, Tensor]
    parameters: Parameters
    outputs: list[tuple[TensorSpec, bool]]
    """What to answer, and whether in bytes."""

    @property
    def batch(self) -> int:
        """The size of the inputs' first axis."""
        return len(next(iter(self.inputs.values())))


def specs_of(names: Sequence[str], specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    """What inputs of these names are like. Raises `BadTensor` unless they are those that a model takes."""
    expected, got = sorted(spec.name for spec in specs), sorted(names)
    if got != expected:
        raise BadTensor(f"inputs: expected {expected}, got {got}.")
    return {spec.name: spec for spec in specs}


def check_batch(tensors: Mapping[str, Tensor]) -> None:
    """Raise `BadTensor` where inputs are not equally many."""
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        raise BadTensor("inputs: expected the same first axis in all, which is the batch.")


def chosen(names: Sequence[str], specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The outputs that are asked for, or all. Raises `BadTensor`."""
    by_name = {spec.name: spec for spec in specs}
    if len(set(names)) < len(names) or not set(names) <= set(by_name):
        raise BadTensor(f"outputs: expected some of {sorted(by_name)}, each once, got {list(names)}.")
    return [by_name[name] for name in names] or list(specs)
