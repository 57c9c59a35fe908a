"""An objective over several processes (DDP or FSDP), with recomputed activations, with compiled blocks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from model.vit import Block, Transformer
from training.config import TrainingConfig
from training.run.processes import Processes


def parallelize(objective: nn.Module, config: TrainingConfig, processes: Processes) -> nn.Module:
    """What to call in a step instead of the objective, which is changed in place.

    With FSDP every transformer block is sharded by itself (Zhao et al. 2023, arXiv:2304.11277), with DDP each
    process has a whole copy.

    Raises `ValueError` where torch can't compile because of the folder it is in.
    """
    transformers = [module for module in objective.modules() if isinstance(module, Transformer)]
    blocks = [module for module in objective.modules() if isinstance(module, Block)]
    for transformer in transformers:
        transformer.checkpointing = config.activation_checkpointing
    if config.compile:
        if processes.device.type == "cpu" and " " in torch.__file__:
            raise ValueError(
                f"compile: on a CPU, torch calls a C++ compiler and can't when its own path has a space, got "
                f"{torch.__file__}; put the environment elsewhere"
            )
        for block in blocks:
            block.compile()
    if processes.world_size == 1:
        return objective
    if config.parallel == "fsdp":
        mesh = init_device_mesh(processes.device.type, (processes.world_size,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(objective, mesh=mesh)
        return objective
    # A loss of weight 0 leaves its head without gradients.
    return DistributedDataParallel(objective, find_unused_parameters=True, broadcast_buffers=False)


def synchronized(objective: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Gradients travel between processes only with the last part of a step."""
    if isinstance(objective, FSDPModule):
        objective.set_requires_gradient_sync(last)
    elif isinstance(objective, DistributedDataParallel) and not last:
        return objective.no_sync()
    return nullcontext()


def gradient_norm(norm: Tensor) -> float:
    """The norm of the whole gradient, which FSDP leaves spread over the processes."""
    whole: Tensor = norm.full_tensor() if isinstance(norm, DTensor) else norm
    return float(whole.item())
