"""What an engine serves at a moment, as the processes that use it are told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from service.runtime.bundle import Manifest


class Edition(BaseModel):
    """All models, and why there are not more. Each change makes another edition."""

    model_config = ConfigDict(frozen=True)
    models: dict[int, Manifest]
    """By the number that items name."""
    providers: dict[int, str]
    """ONNX Runtime's name of what runs each."""
    default: str | None
    """The model for requests that name none."""
    refused: dict[str, str]
    """Folders whose bundle is not, or not yet, what is served, and why."""
    reason: str | None
    """Why nothing is served; None where something is."""
