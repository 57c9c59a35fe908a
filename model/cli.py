"""`stellar-model`: export a checkpoint or published weights to a bundle; calibrate, share and describe it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

Bundles = Annotated[Path, typer.Option(help="Folder of bundles, for stellar-service serve --models.")]
Revision = Annotated[
    str | None, typer.Option(help="Branch, tag or commit of the repository.", show_default="main")
]

app = typer.Typer(no_args_is_help=True, help="STELLAR models: checkpoints in, ONNX bundles out.")
console = Console()

CheckpointPath = Annotated[
    Path,
    typer.Argument(
        help="Checkpoint in the published names: .safetensors, torch, or the .index.json of shards.",
        exists=True,
    ),
]
VqganPath = Annotated[
    Path | None, typer.Option(help="The VQGAN's weights, where the checkpoint has none.", exists=True)
]
NumHeads = Annotated[
    int | None, typer.Option(help="The encoder's attention heads, where its width does not tell them.")
]


@app.command()
def export(
    checkpoint: CheckpointPath,
    out: Annotated[Path, typer.Option(help="The bundle's folder; replaced if it exists.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name in the API [default: the folder's].")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16 or int8.", show_default="fp32; fp16 with --tensorrt"),
    ] = None,
    for_tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Fail where TensorRT could not take the graphs whole.")
    ] = False,
    vqgan: VqganPath = None,
    num_heads: NumHeads = None,
    licence: Annotated[str, typer.Option(help="The licence of the weights.")] = "MIT",
    quality: Annotated[
        Path | None,
        typer.Option(
            help="evaluation.json, or other measured figures by name, for the manifest.", exists=True
        ),
    ] = None,
) -> None:
    """Write a bundle and report how far ONNX Runtime is from PyTorch; a broken export fails."""
    from model.checkpoint import load_checkpoint
    from model.export import export_bundle
    from model.parity import ParityError
    from model.tensorrt import TensorRTError

    precision = precision or ("fp16" if for_tensorrt else "fp32")
    try:
        with console.status(f"Exporting {checkpoint.name} as {precision}"):
            manifest = export_bundle(
                load_checkpoint(checkpoint, vqgan, num_heads),
                out,
                name=name or out.name,
                checkpoint=checkpoint,
                precision=precision,
                for_tensorrt=for_tensorrt,
                licence=licence,
                quality=_figures(quality) if quality else None,
            )
    except (OSError, ValueError, ParityError, TensorRTError) as error:
        _fail(error)
    _show(manifest)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="stellar-b16, -l16, -h16, -b8 or -b24.")],
    out: Bundles = Path("models"),
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8; the latter two end the name.")] = "fp32",
    revision: Revision = None,
) -> None:
    """Fetch published weights from the Hugging Face Hub, verify them and export them to a bundle.

    Cache, token, mirror and offline use are set by the hub's variables: HF_HOME, HF_TOKEN, HF_ENDPOINT,
    HF_HUB_OFFLINE=1.
    """
    from model.hub import DownloadError
    from model.published import fetch_weights

    try:
        weights = fetch_weights(name, revision=revision)
    except (DownloadError, ValueError) as error:
        _fail(error)

    from model.export import export_bundle  # only now: it takes seconds
    from model.parity import ParityError

    bundle = name if precision == "fp32" else f"{name}-{precision}"
    try:
        with console.status(f"Exporting {name} as {precision}"):
            manifest = export_bundle(
                weights.model,
                out / bundle,
                name=bundle,
                checkpoint=weights.checkpoint,
                precision=precision,
                source=weights.source,
            )
    except (ValueError, ParityError, OSError) as error:
        _fail(error)
    _show(manifest)


@app.command()
def calibrate(
    bundle: Annotated[
        Path, typer.Argument(help="The bundle's folder, which is replaced.", exists=True, file_okay=False)
    ],
    pictures: Annotated[
        Path,
        typer.Option(
            help="Folder of pictures, at any depth, such as those to search.", exists=True, file_okay=False
        ),
    ],
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Pictures in folders that are their labels: the vector that finds these best is chosen.",
            show_default="two views of held-out pictures have to find each other",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Pictures that are taken at most.", min=1)] = 4096,
) -> None:
    """Measure a bundle's vectors over pictures, so that /embed and /tokens have some made for search.

    Runs on the processor and needs no PyTorch. The version becomes another: vectors of before and after must
    not be mixed. A service that serves the bundle takes it in at SIGHUP.
    """
    from model.calibration import calibrate as measured

    try:
        manifest = measured(bundle, pictures, labelled=labelled, most=most)
    except (OSError, ValueError) as error:
        _fail(error)
    _show({"model": f"{manifest['name']}@{manifest['version']}", **manifest["statistics"]})


@app.command()
def push(
    path: Annotated[
        Path, typer.Argument(help="A bundle's folder, or a .safetensors checkpoint.", exists=True)
    ],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made where it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make it for yourself alone.")] = False,
    licence: Annotated[
        str | None, typer.Option(help="Of a checkpoint's weights; bundles have theirs in the manifest.")
    ] = None,
) -> None:
    """Upload a bundle or a checkpoint to the Hugging Face Hub, with a card. Needs a token that may write."""
    from model.shared import PushError
    from model.shared import push as pushed

    try:
        console.print(pushed(path, repository, private=private, licence=licence), soft_wrap=True)
    except (PushError, OSError, ValueError) as error:
        _fail(error)


@app.command()
def pull(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")],
    out: Bundles = Path("models"),
    revision: Revision = None,
) -> None:
    """Fetch a bundle or a checkpoint that was pushed, and verify it."""
    from model.hub import DownloadError
    from model.shared import pull as pulled

    try:
        console.print(str(pulled(repository, out, revision=revision)), soft_wrap=True)
    except (DownloadError, OSError, ValueError) as error:
        _fail(error)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A checkpoint, or a bundle's folder.", exists=True)],
    vqgan: VqganPath = None,
    num_heads: NumHeads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Describe a checkpoint or a bundle."""
    if path.is_dir():
        manifest = path / "bundle.json"
        if not manifest.is_file():
            _fail(f"{path}: expected a bundle's folder, but it has no bundle.json")
        description = json.loads(manifest.read_text())
    else:
        from model.checkpoint import load_checkpoint

        try:
            model = load_checkpoint(path, vqgan, num_heads)
        except (OSError, ValueError) as error:
            _fail(error)
        encoder = [*model.embedding.parameters(), *model.transformer.parameters(), model.sparse_tokens]
        description = dataclasses.asdict(model.config) | {
            "parameters": sum(p.numel() for p in model.parameters()),
            "encoder_parameters": sum(p.numel() for p in encoder),
        }
    if as_json:
        console.print_json(data=description)
    else:
        _show(description)


def _show(description: Mapping[str, Any]) -> None:
    table = Table("what", "value", show_header=False)
    for key, value in description.items():
        if isinstance(value, Mapping):
            value = "\n".join(f"{k}: {_plain(v)}" for k, v in value.items())
        table.add_row(key, _plain(value))
    console.print(table)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return str(value)


def _figures(path: Path) -> dict[str, float]:
    """What was measured; `evaluation.json` also says why other figures are missing. Raises `ValueError`."""
    try:
        content = dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"quality: expected a JSON object of figures in {path}: {error}") from error
    content.pop("not_measured", None)
    for name, value in content.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"quality: expected a finite number for {name} in {path}, got {value!r:.40}")
    return content


def _fail(error: object) -> NoReturn:
    Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
