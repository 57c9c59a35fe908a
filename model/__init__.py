"""STELLAR in PyTorch: the model, its checkpoints and its export to a bundle."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Before anything imports ONNX Runtime, which otherwise reports its use to Microsoft from a thread of its own.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from model.checkpoint import load_checkpoint, save_checkpoint
    from model.clustering import ClusteringHead
    from model.config import PRESETS, StellarConfig, get_preset
    from model.stellar import Encoding, Stellar, Tokens
    from model.tensor_file import CheckpointError
    from model.vit_mae import load_vit_mae
    from model.vqgan import Vqgan
else:
    _MODULES = {
        "checkpoint": ("load_checkpoint", "save_checkpoint"),
        "clustering": ("ClusteringHead",),
        "config": ("PRESETS", "StellarConfig", "get_preset"),
        "stellar": ("Encoding", "Stellar", "Tokens"),
        "tensor_file": ("CheckpointError",),
        "vit_mae": ("load_vit_mae",),
        "vqgan": ("Vqgan",),
    }

    def __getattr__(name: str) -> Any:
        """Load what is asked for: bundles are described and calibrated without PyTorch."""
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f"model.{module}"), name)
        raise AttributeError(f"module 'model' has no attribute {name!r}")


__all__ = [
    "PRESETS",
    "CheckpointError",
    "ClusteringHead",
    "Encoding",
    "Stellar",
    "StellarConfig",
    "Tokens",
    "Vqgan",
    "get_preset",
    "load_checkpoint",
    "load_vit_mae",
    "save_checkpoint",
]
