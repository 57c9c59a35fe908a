"""STELLAR in PyTorch: the model, its checkpoints and its export to a bundle."""

from model.checkpoint import load_checkpoint, save_checkpoint
from model.clustering import ClusteringHead
from model.config import PRESETS, StellarConfig, get_preset
from model.stellar import Encoding, Stellar
from model.tensor_file import CheckpointError
from model.vit_mae import load_vit_mae
from model.vqgan import Vqgan

__all__ = [
    "PRESETS",
    "CheckpointError",
    "ClusteringHead",
    "Encoding",
    "Stellar",
    "StellarConfig",
    "Vqgan",
    "get_preset",
    "load_checkpoint",
    "load_vit_mae",
    "save_checkpoint",
]
