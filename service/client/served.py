"""What a service says of its models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from service.tokens.size import ImageSize


class Served(BaseModel):
    """A model that is served. A newer service may tell more of it than this client knows."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str
    version: str
    """The hash of its content."""
    precision: str
    """fp32, fp16 or int8."""
    image_size: ImageSize
    """Of the picture that it sees, in pixels: the side of a square, or height and width."""
    grid: tuple[int, int]
    """Rows and columns of patches."""
    num_sparse_tokens: int
    width: int
    """Numbers of a token."""
    poolings: tuple[str, ...] = ("mean", "cls", "tokens")
    """The vectors that it has; the first one is what `embed` gives unless told otherwise."""
    quality: dict[str, float]
    """What was measured, by name."""
    licence: str
    provider: str
    """ONNX Runtime's name of what it runs on."""

    @property
    def id(self) -> str:
        """What the service calls this very content: name@version."""
        return f"{self.name}@{self.version}"


class ServedModels(BaseModel):
    """The answer of /models."""

    model_config = ConfigDict(frozen=True)
    default: str
    """Name of the model for requests that name none."""
    models: list[Served]

    def find(self, name: str | None) -> Served:
        """The model called `name` or `name@version`, the default one for None. Raises `KeyError`."""
        wanted = name or self.default
        for model in self.models:
            if wanted in (model.name, model.id):
                return model
        raise KeyError(f"there is no model {wanted!r}; there is {', '.join(m.id for m in self.models)}")
