"""What a training run is made of: one frozen description, validated once and saved beside the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from model import StellarConfig
from model.config import IMAGENET_MEAN, IMAGENET_STD
from service.tokens.names import escaped
from service.tokens.size import ImageSize, image_size, sides
from training.expected import expect
from training.loss_weights import DISTILLED, OF_VIEWS, LossWeights


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """A pretrained teacher, which sees the reference view: the very crop that the model sees."""

    teacher: str | None = None
    """An ONNX file, or a function that makes a torch module, as package.module:function."""
    size: ImageSize = 224
    """The teacher's input in pixels: the side of a square, or height and width."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """What the teacher wants subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What it wants the rest divided by."""
    momentum: float = 0.99
    """Share of the running mean of its features that a step keeps, in [0, 1]."""

    def __post_init__(self) -> None:
        for side in sides(self.size):
            expect("distillation.size", side, "a positive integer", low=1, whole=True)
        object.__setattr__(self, "size", image_size(self.size))
        expect("distillation.momentum", self.momentum, "a number in [0, 1]", low=0, high=1)
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"distillation.mean: expected finite numbers, got {self.mean}")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"distillation.std: expected numbers above 0, got {self.std}")


MAX_SEED = 2**31 - 1
"""The draws of a run begin at its seed, 2³² apart, and PyTorch counts them in 64 bits."""

Part = Literal[
    "embedding",
    "sparse_tokens",
    "transformer",
    "factorization",
    "decoder",
    "reconstruction_head",
    "clustering_head",
    "cls_cluster_head",
]
"""A part of a model by its name there."""

TrackerName = Literal["tensorboard", "mlflow", "wandb"]
"""What shows a run's figures, by the name of its package."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained. The defaults are the paper's recipe for one device."""

    steps: int = 1_500_000
    """Optimizer steps: 150 epochs of ImageNet's 1.28 million pictures in batches of 128."""
    batch_size: int = 128
    """Pictures that each process computes at once; targets are balanced over those of all processes."""
    accumulation: int = 1
    """Batches of each process in a step."""
    learning_rate: float = 1.5e-4
    """Peak learning rate, reached at the end of the warm-up."""
    final_learning_rate: float = 1e-6
    """Learning rate of the last step."""
    warmup_share: float = 0.05
    """Share of the steps in which the learning rate grows linearly from 0, in [0, 1]."""
    weight_decay: float = 0.04
    """AdamW's decay of matrices; biases, norms, tokens and positions have none."""
    beta2: float = 0.999
    """AdamW's decay rate of the squared gradients, in [0, 1)."""
    gradient_clip: float = 3.0
    """Largest norm of the whole gradient."""
    layer_decay: float = 1.0
    """Learning rate of an encoder layer over that of the next one, in (0, 1]: 1 is the same for all."""
    frozen_layers: int = 0
    """First encoder layers that stay as they are, with what goes into them: patches, positions, tokens."""
    frozen: tuple[Part, ...] = ()
    """Parts of the model that stay as they are."""
    losses: LossWeights = field(default_factory=LossWeights)
    """Weights of the losses."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    """What the losses called distil_… learn from."""
    masked_views: int = 8
    """V, masked views of each picture."""
    mask_ratio: float = 0.8
    """Share of a masked view's patches that the encoder does not see, in [0, 1]."""
    local_crops: int = 8
    """M, local crops of each picture."""
    local_size: int = 96
    """Side of a local crop, in pixels; a multiple of the patch size."""
    picture_size: int = 512
    """Side of the square that pictures are stretched to before views are cut from it, in pixels."""
    reference_crop: Literal["first_masked", "own"] = "first_masked"
    """Which part of a picture the reference view shows: that of the first masked view, or one of its own."""
    global_scale: tuple[float, float] = (0.36, 1.0)
    """Smallest and largest share of the picture's area in the reference view and the masked views."""
    local_scale: tuple[float, float] = (0.06, 0.36)
    """Smallest and largest share of the picture's area in a local crop."""
    colour_strength: float = 1.0
    """How far colours of masked views and local crops are changed, in [0, 1]: 0 keeps them."""
    reference_colour_strength: float = 0.0
    """The same of the reference view, which is reconstructed with its changed colours."""
    mixing: float = 0.0
    """Share of the reference views that are mixed with another picture's, in [0, 1]."""
    objective: Literal["stellar", "mae"] = "stellar"
    """What is learnt: STELLAR's losses, or masked autoencoding with a dense grid, to compare with."""
    teacher: bool = False
    """Whether the targets come from a moving average of the model."""
    teacher_momentum: float = 0.996
    """Share of the teacher that a step keeps, in [0, 1]."""
    bf16: bool = True
    """Whether matrix products run in bfloat16; losses and normalisations stay in float32."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share a model: each has a whole copy, or a part of it."""
    activation_checkpointing: bool = False
    """Whether activations are computed again in the backward pass: less memory, a third more work."""
    compile: bool = False
    """Whether transformer blocks go through torch.compile."""
    workers: int = 2
    """Threads that decode pictures."""
    log_every: int = 10
    """Steps between lines of metrics."""
    save_every: int = 1000
    """Steps between checkpoints."""
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    """What shows the figures, beside metrics.jsonl: tensorboard, mlflow, wandb."""
    keep_checkpoints: int = 0
    """Last checkpoints that are kept with their steps in their names, beside the newest and the best one."""
    validate_every: int = 1000
    """Steps between looks at held-out pictures, where there are any."""
    held_out_share: float = 0.0
    """Share of the pictures of a folder that are held out, where the run names no others, in [0, 1)."""
    held_out_pictures: int = 256
    """Held-out pictures that are looked at, at most."""
    max_skipped: int = 20
    """Steps in a row with a loss or gradient that is not finite after which the run stops."""
    seed: int = 0
    """Where all random draws start."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "workers", "local_size", "picture_size"):
            expect(name, getattr(self, name), "a positive integer", low=1, whole=True)
        for name in ("log_every", "save_every", "validate_every", "held_out_pictures", "max_skipped"):
            expect(name, getattr(self, name), "a positive integer", low=1, whole=True)
        for name in ("masked_views", "local_crops", "frozen_layers", "keep_checkpoints"):
            expect(name, getattr(self, name), "an integer, 0 or more", low=0, whole=True)
        expect("seed", self.seed, f"an integer from 0 to {MAX_SEED}", low=0, high=MAX_SEED, whole=True)
        for name in ("learning_rate", "final_learning_rate", "weight_decay"):
            expect(name, getattr(self, name), "a finite number, 0 or more", low=0)
        for name in ("warmup_share", "mask_ratio", "teacher_momentum", "mixing", "held_out_share"):
            expect(name, getattr(self, name), "a number in [0, 1]", low=0, high=1)
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"beta2: expected a number in [0, 1), got {self.beta2}")
        for name in ("colour_strength", "reference_colour_strength"):
            expect(name, getattr(self, name), "a number in [0, 1]", low=0, high=1)
        expect("layer_decay", self.layer_decay, "a number above 0 and at most 1", low=0, high=1)
        if not self.layer_decay:
            raise ValueError("layer_decay: expected a number above 0 and at most 1, got 0")
        if not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip: expected a number above 0, got {self.gradient_clip}")
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name}: expected 0 < smallest <= largest <= 1, got ({low}, {high})")
        if self.teacher and self.objective != "stellar":
            raise ValueError(f"teacher: {self.objective} has none; expected false, got true")
        if self.teacher and self.masked_views < 2:
            raise ValueError(
                f"masked_views: a teacher sees the second one; expected 2 or more, got {self.masked_views}"
            )
        if self.objective == "stellar" and self.losses.want("numbering") and self.batch_size < 2:
            raise ValueError(
                f"batch_size: the loss numbering compares pictures; expected 2 or more, got {self.batch_size}"
            )
        if not self.counted_losses:
            settings = " and ".join(f"training.{setting}=0" for setting in self.idle_losses)
            raise ValueError(f"losses: expected a weight above 0 of one that has its views, got {settings}")
        if self.distils and self.distillation.teacher is None:
            raise ValueError(
                "distillation.teacher: the losses called distil_… learn from one; expected an ONNX file or "
                "package.module:function, got none"
            )
        if self.distillation.teacher is not None and not self.distils:
            raise ValueError(
                f"losses: nothing learns from distillation.teacher; expected one of {', '.join(DISTILLED)} "
                f"above 0 and objective 'stellar', got none above 0 or objective {self.objective!r}"
            )

    @property
    def idle_losses(self) -> dict[str, tuple[str, ...]]:
        """Losses with a weight that count nothing, by the setting that leaves them without views."""
        if self.objective == "mae":
            return {}
        without = {setting: names for setting, names in OF_VIEWS.items() if not getattr(self, setting)}
        idle = {setting: tuple(filter(self.losses.want, names)) for setting, names in without.items()}
        return {setting: names for setting, names in idle.items() if names}

    @property
    def counted_losses(self) -> tuple[str, ...]:
        """The losses that are computed: those with a weight whose views there are."""
        if self.objective == "mae":
            return ("reconstruction",)
        idle = {name for names in self.idle_losses.values() for name in names}
        return tuple(name for name in self.losses.wanted if name not in idle)

    @property
    def distils(self) -> bool:
        """Whether a loss wants a pretrained teacher."""
        return self.objective == "stellar" and self.losses.want(*DISTILLED)

    @property
    def num_masked_views(self) -> int:
        """V, or 0 where nothing looks at masked views."""
        if self.objective == "mae":
            return 0
        wanted = self.teacher or self.losses.want(*OF_VIEWS["masked_views"])
        return self.masked_views if wanted else 0

    @property
    def num_local_crops(self) -> int:
        """M, or 0 where nothing looks at local crops."""
        wanted = self.objective == "stellar" and self.losses.want(*OF_VIEWS["local_crops"])
        return self.local_crops if wanted else 0

    @property
    def num_masks(self) -> int:
        """Masks of each picture: one for every masked view, or the reference view's in autoencoding."""
        return 1 if self.objective == "mae" else self.num_masked_views


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that a run depends on."""

    pictures: str
    """Folder of pictures, or of Parquet files or WebDataset archives, or a pattern of such."""
    held_out: str | None = None
    """The same of pictures that are held out, which must be others."""
    init: str | None = None
    """Checkpoint whose weights the run starts from, or the name of a model, such as stellar-b16."""
    vit_mae: str | None = None
    """ViT-MAE checkpoint whose encoder the run starts from, where there is no `init`."""
    vqgan: str | None = None
    """File of the VQGAN's weights, for a VQ head where no `init` holds them."""
    model: StellarConfig
    """The architecture."""
    training: TrainingConfig
    """The recipe."""

    def __post_init__(self) -> None:
        for name in ("pictures", "held_out", "init", "vit_mae", "vqgan"):
            path = getattr(self, name) or ""
            if path != path.encode("utf-8", "ignore").decode():
                raise ValueError(
                    f"{name}: expected a path in UTF-8, which TOML is, got {escaped(path)}: "
                    "reach it by a link (ln -s)"
                )
        if self.held_out is not None and self.training.held_out_share:
            raise ValueError(
                f"held_out_share: the run names pictures that are held out; expected 0, got "
                f"{self.training.held_out_share}"
            )
        if self.training.frozen_layers > self.model.depth:
            raise ValueError(
                f"frozen_layers: expected at most the encoder's {self.model.depth}, got "
                f"{self.training.frozen_layers}"
            )
        num_patches = math.prod(self.model.grid)
        if self.training.num_masks and int(num_patches * (1 - self.training.mask_ratio)) < 1:
            raise ValueError(
                f"mask_ratio: expected a share that leaves some of {num_patches} patches, got "
                f"{self.training.mask_ratio}"
            )
        losses, tokens = self.training.losses, self.model.num_sparse_tokens
        if tokens < 2 and self.training.objective == "stellar" and losses.want("koleo", "masked_koleo"):
            raise ValueError(f"num_sparse_tokens: koleo keeps tokens apart; expected 2 or more, got {tokens}")
        patch_size, local_size = self.model.patch_size, self.training.local_size
        if self.training.local_crops and local_size % patch_size:
            raise ValueError(
                f"local_size: expected a multiple of the patch size {patch_size}, got {local_size}"
            )
