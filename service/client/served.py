"""What a service says of its models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from service.bundle import Manifest


class Served(Manifest):
    """A model that is served: its manifest, and ONNX Runtime's name of what it runs on."""

    provider: str


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
