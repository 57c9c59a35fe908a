"""How many processes there are, and what each may have of what is the service's."""

from __future__ import annotations

from pydantic import SecretStr

from service.runtime.resources import available_memory, available_processors
from service.settings import Settings

FED = 8
"""Processors that run models, for each API process."""


def process_count(settings: Settings) -> int:
    """API processes: as many as were asked for, or as suit the processors.

    Before a GPU they decode, each on a processor of its own, and one is left for the engine; before workers,
    too. Where processors run the models, a process can feed several.
    """
    if settings.processes:
        return settings.processes
    if settings.batcher == "local" and settings.device == "cpu":
        return max(1, available_processors() // FED)
    return max(1, available_processors() - 1)


def share(settings: Settings, count: int) -> Settings:
    """The settings of one API process of `count`: limits of the service are shared out."""
    decode_memory = settings.decode_memory or available_memory() // 2
    body_memory = settings.body_memory or available_memory() // 4
    return settings.model_copy(
        update={
            "max_connections": max(2, settings.max_connections // count),
            "decode_threads": max(1, settings.decode_threads // count),
            "decode_memory": max(1, decode_memory // count),
            "body_memory": max(1, body_memory // count),
        }
    )


def variables(settings: Settings) -> dict[str, str]:
    """The settings as variables, for a process that is started with them."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return {f"STELLAR_{name.upper()}": _written(value) for name, value in values.items() if value is not None}


def _written(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
