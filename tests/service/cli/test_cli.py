"""The command line, apart from serving."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest

from service.settings import Settings


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    plain = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        capture_output=True,
        text=True,
        env=plain,
        check=False,
    )


def test_version_is_the_package_s() -> None:
    done = command("version")
    assert (done.returncode, done.stdout.strip()) == (0, version("stellar-service"))


def test_every_setting_is_listed_with_its_meaning() -> None:
    done = command("settings")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    for name, field in Settings.model_fields.items():
        place = next(i for i, line in enumerate(lines) if line.startswith(f"STELLAR_{name.upper()}="))
        assert field.description
        assert lines[place + 1].strip() == field.description


def test_taken_port_is_an_error_and_no_trace() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = command("serve", "--port", str(taken.getsockname()[1]))
    assert done.returncode not in (0, 2)  # not well, and no bad setting
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


EARLY = """
import signal, sys
sys.modules["typer"] = None  # importing it fails from here on
sys.argv = ["stellar-service", sys.argv[1]]
try:
    import service.cli
except ImportError:
    print(signal.getsignal(signal.SIGHUP).name)
"""


@pytest.mark.parametrize(
    ("given", "then"),
    [("serve", "SIG_IGN"), ("worker", "SIG_IGN"), ("bulk", "SIG_DFL"), ("embed", "SIG_DFL")],
)
def test_hang_up_ends_no_service_that_still_imports_what_takes_long(given: str, then: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY, given],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # not as the tests were started
    )
    assert done.stdout.strip() == then


def test_help_tells_the_defaults_that_settings_have() -> None:
    text = command("serve", "--help").stdout
    for name in ("host", "port", "device", "max_batch", "max_queue"):
        flag = next(line for line in text.splitlines() if f"--{name.replace('_', '-')} " in line)
        assert f"[default: ({Settings.model_fields[name].default})]" in flag
