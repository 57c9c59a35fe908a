"""STELLAR (Zhao et al., arXiv:2602.01905): an image as sparse semantic tokens times their localization.

B batch · H, W pixels · N = h·w patches · K kept patches · r sparse tokens ·
F first tokens of a sequence · D encoder width · C decoder width
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from model.clustering import ClusteringHead
from model.config import CODEBOOK_SIZE, IMAGENET_MEAN, IMAGENET_STD, StellarConfig
from model.decoder import Decoder
from model.factorization import Factorization
from model.vit import PatchEmbedding, Transformer, init_weights, kept_pixels
from model.vqgan import Vqgan

VQGAN_STRIDE = 16


class Encoding(NamedTuple):
    """What the encoder says of a batch of images."""

    cls: Float[Tensor, "B 1 D"]
    dense: Float[Tensor, "B N D"]
    sparse: Float[Tensor, "B r D"]


class Tokens(NamedTuple):
    """What the encoder says of images as wholes."""

    cls: Float[Tensor, "B 1 D"]
    sparse: Float[Tensor, "B r D"]


class Stellar(nn.Module):
    """Encoder, factorization, decoder, head and the clustering heads that training needs.

    Images are RGB in [0, 1]; ImageNet's mean and deviation are applied inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: StellarConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = PatchEmbedding(config.grid, config.patch_size, width)
        self.sparse_tokens = nn.Parameter(torch.randn(config.num_sparse_tokens, width) * width**-0.5)
        self.transformer = Transformer(width, config.depth, config.num_heads, config.mlp_width)
        self.factorization = Factorization(width)
        self.decoder = Decoder(config)
        self.reconstruction_head = _head(config)
        self.apply(init_weights)
        self.clustering_head = _clustering_head(config)
        self.cls_cluster_head = _clustering_head(config)
        self.tokenizer = Vqgan(config.vqgan_channels) if config.head == "vq" else None
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    @staticmethod
    def from_pretrained(source: str | Path, *, revision: str | None = None) -> Stellar:
        """The model of a folder, a repository on the Hugging Face Hub, or a published name, for inference.

        See `model.pretrained.load`.
        """
        # Only now: it knows this class, and the hub's client takes a second.
        from model.pretrained import load

        return load(source, revision=revision)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as `folder`/model.safetensors, in the published names. Raises `OSError`."""
        from model.pretrained import save

        save(self, Path(folder))

    def push_to_hub(self, repository: str, *, private: bool = False, licence: str | None = None) -> str:
        """Upload the model to the Hugging Face Hub, as `stellar-model push` does a checkpoint; its address.

        See `model.shared.push`.
        """
        from model.pretrained import push

        return push(self, repository, private=private, licence=licence)

    def encode(self, image: Float[Tensor, "B 3 H W"], kept: Int[Tensor, "B K"] | None = None) -> Encoding:
        """Encode whole images, or only the patches whose ids are in `kept`.

        H and W are multiples of the patch size; `dense` holds the kept patches in the order given.
        """
        return self.mix(self.embed(image, kept))

    def encode_tokens(
        self, image: Float[Tensor, "B 3 H W"], kept: Int[Tensor, "B K"] | None = None
    ) -> Tokens:
        """`encode` without `dense`, which the last block then does not compute."""
        tokens = self._first(self.embed(image, kept), 1 + self.config.num_sparse_tokens)
        return Tokens(tokens[:, :1], tokens[:, 1:])

    def encode_cls(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 D"]:
        """`cls` of `encode` alone."""
        return self._first(self.embed(image), 1)

    def _first(self, patches: Float[Tensor, "B T D"], first: int) -> Float[Tensor, "B F D"]:
        """The first ones of CLS and sparse tokens, encoded with all patches: no order matters to blocks."""
        tokens = self.sparse_tokens.expand(patches.shape[0], -1, -1)
        sequence = torch.cat([patches[:, :1], tokens, patches[:, 1:]], dim=1)
        return self.transformer(sequence, first)  # type: ignore[no-any-return]

    def mix(self, patches: Float[Tensor, "B T D"]) -> Encoding:
        """Encode CLS and patches as they were embedded."""
        tokens = self.sparse_tokens.expand(patches.shape[0], -1, -1)
        sequence = self.transformer(torch.cat([patches, tokens], dim=1))
        num_patches = patches.shape[1] - 1
        cls, dense, sparse = sequence.split([1, num_patches, self.config.num_sparse_tokens], dim=1)
        return Encoding(cls, dense, sparse)

    def embed(
        self, image: Float[Tensor, "B 3 H W"], kept: Int[Tensor, "B K"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """CLS and patches, all or the kept ones, for `mix`."""
        if kept is None:
            return self.embedding((image - self.mean) / self.std)  # type: ignore[no-any-return]
        patch = self.config.patch_size
        pixels = kept_pixels(image, kept, patch)
        grid = image.shape[2] // patch, image.shape[3] // patch
        return self.embedding.embed_kept((pixels - self.mean) / self.std, kept, grid)

    def localize(
        self, dense: Float[Tensor, "B N D"], sparse: Float[Tensor, "B r D"]
    ) -> Float[Tensor, "B N r"]:
        """L, for each patch a distribution over the tokens."""
        return self.factorization(dense, sparse)  # type: ignore[no-any-return]

    def decode(
        self,
        semantics: Float[Tensor, "B r D"],
        localization: Float[Tensor, "B N r"],
        grid: tuple[int, int] | None = None,
    ) -> Float[Tensor, "B N C"]:
        """Decoder features of Z = L S on an h×w grid (the native one or a square when None)."""
        return self.decoder(localization @ semantics, grid or self._grid_of(localization))  # type: ignore[no-any-return]

    def predict(
        self, features: Float[Tensor, "B N C"], grid: tuple[int, int] | None = None
    ) -> Float[Tensor, "B ..."]:
        """The head's output: an image (B, 3, H, W) not yet clamped, or logits over codes (B, N, 1024)."""
        if self.config.head == "vq":
            return self.reconstruction_head(features)  # type: ignore[no-any-return]
        height, width = grid or self._grid_of(features)
        plane = features.transpose(1, 2).reshape(features.shape[0], -1, height, width)  # (B, C, h, w)
        return self.reconstruction_head(plane)  # type: ignore[no-any-return]

    def render(
        self,
        semantics: Float[Tensor, "B r D"],
        localization: Float[Tensor, "B N r"],
        grid: tuple[int, int] | None = None,
    ) -> Float[Tensor, "B 3 H W"]:
        """The image in [0, 1] that tokens and localization stand for."""
        grid = grid or self._grid_of(localization)
        prediction = self.predict(self.decode(semantics, localization, grid), grid)
        if self.tokenizer is None:
            return prediction.clamp(0, 1)
        return self.tokenizer.decode(prediction.argmax(dim=-1), grid)

    def vq_targets(self, image: Float[Tensor, "B 3 H W"]) -> Int[Tensor, "B N"]:
        """The VQGAN codes that a VQ head should predict: one for each patch.

        Where the patch is not the VQGAN's 16 pixels, the image is first resized to 16 pixels a patch.
        """
        assert self.tokenizer is not None, "a pixel head has no VQ targets"
        patch = self.config.patch_size
        if patch != VQGAN_STRIDE:
            size = [side // patch * VQGAN_STRIDE for side in image.shape[2:]]
            image = F.interpolate(image, size=size, mode="bicubic", align_corners=False)
        return self.tokenizer.encode(image)

    def _grid_of(self, patches: Float[Tensor, "B N _"]) -> tuple[int, int]:
        """The native grid, or a square one of another size. Raises `ValueError` where it can't be told."""
        number = patches.shape[1]
        if number == self.config.num_patches:
            return self.config.grid
        side = math.isqrt(number)
        if side * side != number:
            raise ValueError(f"grid: {number} patches are no square; say how many down and across")
        return side, side

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Encoding, Float[Tensor, "B N r"]]:
        """Encoding and localization of whole images."""
        encoding = self.encode(image)
        return encoding, self.localize(encoding.dense, encoding.sparse)


def _head(config: StellarConfig) -> nn.Module:
    if config.head == "vq":
        return nn.Linear(config.decoder_width, CODEBOOK_SIZE)
    return nn.ConvTranspose2d(
        config.decoder_width, 3, kernel_size=config.patch_size, stride=config.patch_size
    )


def _clustering_head(config: StellarConfig) -> ClusteringHead:
    return ClusteringHead(
        config.width,
        predictor_width=config.predictor_width,
        prototype_width=config.prototype_width,
        num_prototypes=config.num_prototypes,
    )
