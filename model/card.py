"""The page that the Hugging Face Hub shows of a model: what it is, what was measured, how it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCardData

PAPER = "https://arxiv.org/abs/2602.01905"


def bundle_card(manifest: Mapping[str, Any], repository: str) -> str:
    """Of a bundle, from its manifest."""
    name = repository.rpartition("/")[2]
    (rows, columns), patch = manifest["grid"], manifest["patch_size"]
    table = {
        "version": manifest["version"],
        "precision": manifest["precision"],
        "picture": f"{columns * patch} × {rows * patch} pixels, {columns} × {rows} patches",
        "tokens": f"{manifest['num_sparse_tokens']} of {manifest['width']} numbers",
        "head": manifest["head"],
        **{f"source: {key}": value for key, value in manifest.get("source", {}).items()},
    }
    use = _block(
        "sh",
        f"stellar-model pull {repository}\nstellar-service serve --models models --model {manifest['name']}",
    )
    measured = {key: f"{value:.4g}" for key, value in manifest.get("quality", {}).items()}
    return _card(
        f"{name}: a bundle of ONNX graphs, for `stellar-service`",
        manifest["licence"],
        ["onnx"],
        table,
        measured,
        use,
    )


def checkpoint_card(config: Mapping[str, Any], repository: str, licence: str | None) -> str:
    """Of a checkpoint, from its model's configuration."""
    name = repository.rpartition("/")[2]
    python = f'from model import Stellar\n\nmodel = Stellar.from_pretrained("{repository}")'
    shell = (
        f"stellar-model pull {repository}\nstellar-model export models/{name}.safetensors --out models/{name}"
    )
    use = f"{_block('python', python)}\nFor `stellar-service`:\n{_block('sh', shell)}"
    return _card(f"{name}: a checkpoint, for PyTorch", licence, ["pytorch"], config, {}, use)


def _card(
    title: str,
    licence: str | None,
    tags: list[str],
    table: Mapping[str, Any],
    measured: Mapping[str, str],
    use: str,
) -> str:
    data = ModelCardData(
        license=licence.lower() if licence else None,
        pipeline_tag="image-feature-extraction",
        tags=["stellar", *tags],
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n# {title}",
        f"[STELLAR]({PAPER}) turns a picture into semantic tokens, what there is, and their localization, "
        "where it is. They can be searched and edited, and a picture is drawn from them.",
        _table("", table),
        *([f"## Measured\n{_table('figure', measured)}"] if measured else []),
        f"## Use\n{use}",
    ]
    return "\n\n".join(parts)


def _block(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```\n"


def _table(heading: str, rows: Mapping[str, Any]) -> str:
    return "\n".join(
        [f"| {heading} | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    )
