"""Structured logs: a JSON object a line, or coloured text on a terminal, with the request's id."""

from __future__ import annotations

import logging
import re
import sys
from typing import Literal

import structlog

logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("stellar")


CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal would obey: it colours, deletes or turns lines of others."""


def configure_logs(level: str, log_format: Literal["auto", "json", "console"], process: str = "") -> None:
    """Send structlog's and the standard library's messages through one formatter to standard error.

    `process` says in each line which of several processes it is from.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if process:
        shared.append(lambda _logger, _method, event: {**event, "process": process})
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.processors.format_exc_info,
            _harmless,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _harmless(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Control characters in what a line says as escapes; a traceback keeps its lines."""
    for name, value in event.items():
        if isinstance(value, str):
            lines = value.split("\n") if name in ("exception", "stack") else [value]
            event[name] = "\n".join(CONTROLS.sub(_escape, line) for line in lines)
    return event


def _escape(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode()
