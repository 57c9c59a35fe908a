"""Ray: a cluster by its address, or one of this job's own on this machine, which nobody else can reach."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

if find_spec("ray") is None:
    raise ModuleNotFoundError("there is no Ray", name="ray")  # it is imported where its variables are set

OBJECT_STORE_BYTES = 100 * 2**20
"""Ray's shared memory here: what passes through it are names of shards."""
NOISY = ("execution.streaming_executor_state", "progress")
"""Parts of Ray Data that tell of shards that fail, as the job does at its end, and of bars."""


class ClusterError(RuntimeError):
    """Ray can't be reached or started, or no worker of the job can begin."""


@contextmanager
def connected(address: str | None, processors: int) -> Iterator[Any]:
    """Ray Data, on the cluster at `address`, or on `processors` of this machine where it is None.

    Raises `ClusterError`, also for errors of Ray while it is used.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    folder = None
    if address is None:
        folder = tempfile.mkdtemp(prefix="ray-")
        os.environ |= {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of it listens on the loopback address then
            "RAY_worker_niceness": "0",  # it is for the user to be nice, not for Ray
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
    import ray
    import ray.data

    try:
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        for part in NOISY:
            logging.getLogger(f"ray.data._internal.{part}").setLevel(logging.CRITICAL)
        own = {
            "num_cpus": processors,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": folder,
        }
        try:
            ray.init(address or "local", logging_level="error", **({} if address else own))
        except RuntimeError as error:
            raise ClusterError(f"Ray can't be used at {address or 'this machine'}: {error}") from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a shard that can't be done is told at the end
        yield ray.data
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise ClusterError(f"Ray: {error}") from error
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
