"""Every command of every page runs as it stands there, or says why it can't, and is sound then.

A page's blocks are run in their order, in a folder of their own that has what the pages speak of. What goes
on until it is ended (`make serve`, a service, a worker, Redis) is started, waited for and ended. Other lines
that make the project itself (`make …`, `.venv/bin/…`) are looked at, not run: this test is a part of them.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

import model.cli
import service.cli
import training.cli
from tests.docs.pages import PAGES, REASONS, ROOT, Block, blocks_of, run_python
from tests.service.fleet.cluster import free_port
from tests.service.photos import photo
from tests.service.server import Server, running

pytestmark = pytest.mark.long

APPS: dict[str, Any] = {
    "stellar-service": typer.main.get_command(service.cli.app),
    "stellar-model": typer.main.get_command(model.cli.app),
    "stellar-train": typer.main.get_command(training.cli.app),
}
ENDLESS = re.compile(
    r"^([A-Z_]+=\S+ )*(make serve|stellar-service (serve|worker)|redis-server)\b(?!.*(--help|MODEL=)).*$",
    re.MULTILINE,
)
OWN = re.compile(r"^(make|\.venv/bin/\S+)\b.*$", re.MULTILINE)
ASSIGNMENT = re.compile(r"[A-Z_]+=")
STAMPS = ("serve", "train", "dev", "kserve/installed", "callers/installed")
AS_IT_IS = [f"--old-file=.venv/{stamp}" for stamp in STAMPS]
"""Tells make that all is installed: the tests run in it, and must not change it."""
PORTS = ("8000", "8001", "6379", "9400", "9401")
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
START_TIMEOUT_S = 60
RUN_TIMEOUT_S = 300
LANGUAGES = {"sh", "python", "text", "yaml", "json", "toml"}

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
ELSEWHERE = {
    f"docs/use/{name}.md"
    for name in ("bulk", "clients", "look", "openai-clients", "pgvector", "qdrant", "search")
}
"""Every block of these is run as it stands, by test_clients, test_look, test_search and test_stores."""
RUN = {
    page: [block for block in BLOCKS if block.page == page and block.reason is None]
    for page in PAGES
    if any(block.page == page and block.reason is None for block in BLOCKS)
    and str(page.relative_to(ROOT)) not in ELSEWHERE
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What pages mean by localhost:8000, and for gRPC by localhost:8001."""
    with running(tmp_path_factory.mktemp("docs") / "log", {"STELLAR_GRPC_PORT": "0"}) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader stands."""
    for package in ("service", "model", "training"):
        (tmp_path / package).symlink_to(ROOT / package)
    (tmp_path / "cat.jpg").write_bytes(photo("chelsea"))
    (tmp_path / "other.jpg").write_bytes(photo("coffee"))
    (tmp_path / "photos/trip").mkdir(parents=True)
    for name in ("astronaut", "chelsea", "coffee"):
        (tmp_path / f"photos/trip/{name}.jpg").write_bytes(photo(name))
    return tmp_path


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_as_they_stand(page: Path, server: Server, folder: Path) -> None:
    at = server.url.removeprefix("http://")
    script = ""
    blocks = RUN[page]
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        text = block.text.replace("localhost:8000", at)
        text = text.replace("localhost:8001", f"localhost:{server.logged('grpc_listening')[0]['port']}")
        if block.language == "sh":
            run_shell(block, text, folder)
        elif block.language == "python":
            script += text
            if not (following and following.language == "python" and goes_on(following)):
                done = run_python(script, folder)
                assert done.returncode == 0, f"{block.name}\n{done.stdout}{done.stderr}"
                script = ""


def goes_on(block: Block) -> bool:
    """Whether it takes up where the one before it ended: it imports nothing."""
    return re.search(r"^(import|from) ", block.text, re.MULTILINE) is None


def run_shell(block: Block, text: str, folder: Path) -> None:
    endless = [line[0] for line in ENDLESS.finditer(text)]
    others = ENDLESS.sub("", text)
    for line in OWN.finditer(others):
        check_own(block, shlex.split(line[0], comments=True))
    plain = OWN.sub("", others)
    if endless:
        assert not plain.strip(), f"{block.name}: a block starts what goes on, or does something else"
        run_endless(block, endless, folder)
        return
    # Each line has to succeed; curl does where the answer's status says so.
    script = "set -euo pipefail\n" + re.sub(
        r"^curl ", "curl --fail --silent --show-error --noproxy '*' ", plain, flags=re.M
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, f"{block.name}\n{done.stdout}{done.stderr}"


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "STELLAR_THREADS": "1"} | more


def run_endless(block: Block, lines: list[str], folder: Path) -> None:
    """Start them all, wait until the service is ready, end them one by one, as Ctrl-C would."""
    ports = {port: str(free_port()) for port in PORTS}
    url = f"http://127.0.0.1:{ports['8000']}"
    with ExitStack() as stack:
        log = stack.enter_context((folder / f"log-{block.line}").open("w+"))
        started = []
        for line in lines:
            words = shlex.split(line.replace(" &", "  # "), comments=True)
            settings = dict(word.split("=", 1) for word in takewhile(ASSIGNMENT.match, words))
            words = words[len(settings) :]
            for port, free in ports.items():
                words = [re.sub(rf"\b{port}\b", free, word) for word in words]
            if words[0] == "redis-server":
                words += ["--port", ports["6379"], "--bind", "127.0.0.1"]
            if words[0] == "make":
                words += ["-C", str(ROOT), f"PORT={ports['8000']}", *AS_IT_IS]
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment(STELLAR_PORT=ports["8000"], **settings),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(end_group, process, signal.SIGKILL)
            started.append((words[0], process))
        end = time.monotonic() + START_TIMEOUT_S
        while not is_ready(url):
            assert time.monotonic() < end, f"{block.name}\n{Path(log.name).read_text()}"
            time.sleep(0.05)
        for program, process in reversed(started):
            end_group(process, signal.SIGTERM)
            ended = -signal.SIGTERM if program == "make" else 0  # which waits for what it runs
            assert process.wait(30) == ended, f"{block.name}\n{Path(log.name).read_text()}"


def end_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """What it has started is of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/healthz/ready").status_code == 200
    return False


def check_own(block: Block, words: list[str]) -> None:
    """A target of the Makefile, or a program of the environment with files that there are."""
    if words[0] == "make":
        done = subprocess.run(
            ["make", "-n", *AS_IT_IS, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block.name}: {done.stderr}"
        return
    assert (Path(sys.prefix) / "bin" / Path(words[0]).name).exists(), f"{block.name}: {words[0]}"
    for word in words[1:]:
        if "/" in word:
            assert (ROOT / word).exists(), f"{block.name}: {word}"


MARKED = [block for block in BLOCKS if block.reason is not None]


@pytest.mark.parametrize("block", MARKED, ids=lambda block: block.name)
def test_what_is_not_run_is_sound(block: Block) -> None:
    assert block.reason in REASONS
    assert block.language == "sh"
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            check_own(block, words)
        elif "pip" in words:
            assert extras_of(words) <= EXTRAS, block.name
        elif "training.cli" in words:
            check_options(block, "stellar-train", words[words.index("training.cli") + 1 :])
        elif words and words[0] in APPS:
            check_options(block, words[0], words[1:])


def extras_of(words: list[str]) -> set[str]:
    """Those of this project that a line of pip asks for."""
    asked = (re.fullmatch(r"(?:\.|stellar-service)\[(.+)\]", word) for word in words)
    return {extra for match in asked if match for extra in match[1].split(",")}


def check_options(block: Block, program: str, words: list[str]) -> None:
    """The program takes the line, but for files that a reader has and this machine has not."""
    with APPS[program].make_context(program, words, resilient_parsing=True) as context:
        name, command, rest = APPS[program].resolve_command(context, words)
        try:
            command.make_context(name, rest, parent=context)
        except Exception as error:
            if "does not exist" not in str(error):
                raise AssertionError(f"{block.name}: {error}") from error


def test_every_block_says_what_it_is() -> None:
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block.name}: say sh, python or text"
        assert block.reason is None or block.language == "sh", block.name
