"""What the protocol calls a model: `NAME.encoder`, `NAME.decoder` and `NAME.embed` of a served model NAME.

The bare words encoder, decoder and embed stand for those of the default model.
B batch · H, W pixels · N patches · r sparse tokens · D width
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from service.errors import UnknownModel
from service.http.oip.calls import Call, Parameters
from service.http.oip.tensors import Tensor, TensorSpec
from service.http.options import SentBox
from service.http.tokens import read_tokens
from service.http.work import Work, all_good
from service.models.models import Models
from service.models.served import ServedModel
from service.runtime.bundle import Manifest
from service.tokens.box import WHOLE
from service.tokens.choices import Fit


class Stage(ABC):
    """One of the three."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: type[Parameters] = Parameters

    @abstractmethod
    async def run(self, work: Work, call: Call) -> dict[str, Tensor]:
        """The outputs of a batch. Raises `ServiceError`, the first where several items have one."""


class Encoder(Stage):
    """Pixels of the model's own size to tokens."""

    def __init__(self, manifest: Manifest) -> None:
        self.inputs = (TensorSpec("image", "UINT8", (-1, *manifest.size, 3)),)
        self.outputs = (*_tokens(manifest), TensorSpec("cls", "FP32", (-1, manifest.width)))

    async def run(self, work: Work, call: Call) -> dict[str, Tensor]:
        tokens = all_good(await work.settle(work.encode, list(call.inputs["image"])))
        return {spec.name: np.stack([getattr(each, spec.name) for each in tokens]) for spec in self.outputs}


class Decoder(Stage):
    """Tokens to pixels; rows of the localization are scaled to sum to 1."""

    def __init__(self, manifest: Manifest) -> None:
        self.inputs = _tokens(manifest)
        self.outputs = (TensorSpec("image", "UINT8", (-1, -1, -1, 3)),)

    async def run(self, work: Work, call: Call) -> dict[str, Tensor]:
        pairs = read_tokens(dict(call.inputs), work.model.manifest, call.batch)
        pictures = all_good(await work.settle(lambda pair: work.draw(*pair), pairs))
        return {"image": np.stack(pictures)}


class EmbedParameters(Parameters):
    """The options of /embed, save for those that change the answer's shape."""

    fit: Fit = "crop"
    box: SentBox = WHOLE
    pooling: Literal["mean", "cls", "whitened"] | None = None
    normalize: bool = True


class Embed(Stage):
    """Encoded images to vectors."""

    parameters = EmbedParameters

    def __init__(self, manifest: Manifest) -> None:
        self.inputs = (TensorSpec("image", "BYTES", (-1,)),)
        self.outputs = (TensorSpec("embedding", "FP32", (-1, manifest.width)),)

    async def run(self, work: Work, call: Call) -> dict[str, Tensor]:
        parameters = call.parameters
        assert isinstance(parameters, EmbedParameters)
        work.fit, work.box = parameters.fit, parameters.box
        work.choose(parameters.pooling)
        vectors = await work.embed_all(call.inputs["image"].tolist(), normalize=parameters.normalize)
        return {"embedding": np.stack(all_good(vectors))}


STAGES: Mapping[str, Callable[[Manifest], Stage]] = {"encoder": Encoder, "decoder": Decoder, "embed": Embed}


def find_stage(models: Models, name: str, version: str | None) -> tuple[ServedModel, Stage]:
    """The served model and the stage of it that `name` stands for, in this version where one is named.

    Raises `NotReady` and `UnknownModel`.
    """
    served, _, stage = name.rpartition(".")
    if stage not in STAGES:
        known = ", ".join(f"{model.manifest.name}.{stage}" for model in models for stage in STAGES)
        raise UnknownModel(f"There is no model {name!r} here; there are {known}")
    model = models.get(served or None)
    if version not in (None, model.manifest.version):
        raise UnknownModel(f"{name} is served in version {model.manifest.version}, not {version}.")
    return model, STAGES[stage](model.manifest)


def _tokens(manifest: Manifest) -> tuple[TensorSpec, TensorSpec]:
    r, width = manifest.num_sparse_tokens, manifest.width
    return (
        TensorSpec("semantics", "FP32", (-1, r, width)),
        TensorSpec("localization", "FP32", (-1, manifest.num_patches, r)),
    )
