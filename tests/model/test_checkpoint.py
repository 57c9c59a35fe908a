"""Checkpoints: every published form is read, every misfit is named."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import PRESETS, CheckpointError, Stellar, get_preset, load_checkpoint, save_checkpoint

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(PRESETS["debug"])


@pytest.fixture
def saved(model: Stellar, tmp_path: Path) -> Path:
    save_checkpoint(model, tmp_path / "saved.safetensors")
    return tmp_path / "saved.safetensors"


def assert_same(one: Stellar, other: Stellar) -> None:
    assert one.config == other.config
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_what_is_saved_is_read_back(model: Stellar, saved: Path) -> None:
    assert_same(load_checkpoint(saved), model)


def test_what_has_another_shape_than_a_square_s_is_read_back(tmp_path: Path) -> None:
    model = Stellar(get_preset("debug", image_size=(16, 64)))  # as many patches as a square has
    save_checkpoint(model, tmp_path / "wide.safetensors")
    assert_same(load_checkpoint(tmp_path / "wide.safetensors"), model)


def test_equal_weights_are_equal_files_that_others_may_read(model: Stellar, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(6)]
    before = os.umask(0o027)
    try:
        for path in paths:
            save_checkpoint(model, path)
    finally:
        os.umask(before)
    assert len({path.read_bytes() for path in paths}) == 1
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o640}


def test_reference_checkpoint_survives_a_round_trip(fixtures: Path, tmp_path: Path) -> None:
    path = fixtures / "tiny-pixel.weights.safetensors"
    save_checkpoint(load_checkpoint(path), tmp_path / "again.safetensors")
    before, after = load_file(path), load_file(tmp_path / "again.safetensors")
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        unused = "pooler" in key or key.startswith("decoder.embeddings")
        assert torch.equal(after[key], torch.zeros_like(tensor) if unused else tensor), key


def prefixed(tensors: Tensors) -> Tensors:
    return {f"model.{key}": tensor for key, tensor in tensors.items()}


def in_version_5_names(tensors: Tensors) -> Tensors:
    renames = {
        ".encoder.layer.": ".layers.",
        ".attention.attention.query.": ".attention.q_proj.",
        ".attention.attention.key.": ".attention.k_proj.",
        ".attention.attention.value.": ".attention.v_proj.",
        ".attention.output.dense.": ".attention.o_proj.",
        ".intermediate.dense.": ".mlp.fc1.",
        ".output.dense.": ".mlp.fc2.",
    }
    result = {}
    for key, tensor in tensors.items():
        for old, new in renames.items():
            key = key.replace(old, new)
        result[key] = tensor
    return result


def of_ddp(tensors: Tensors) -> Tensors:
    return {f"module.{key}": tensor for key, tensor in tensors.items()}


def compiled(tensors: Tensors) -> Tensors:
    return {f"_orig_mod.{key}": tensor for key, tensor in tensors.items()}


def compiled_in_ddp_in_a_trainer(tensors: Tensors) -> Tensors:
    return {f"model.module._orig_mod.{key}": tensor for key, tensor in tensors.items()}


def compiled_within(tensors: Tensors) -> Tensors:
    return {
        key.replace("encoder.layer.", "encoder.layer._orig_mod."): tensor for key, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    "form",
    [prefixed, in_version_5_names, of_ddp, compiled, compiled_in_ddp_in_a_trainer, compiled_within],
)
def test_other_published_forms_are_read(
    model: Stellar, saved: Path, tmp_path: Path, form: Callable[[Tensors], Tensors]
) -> None:
    save_file(form(load_file(saved)), tmp_path / "form.safetensors")
    assert_same(load_checkpoint(tmp_path / "form.safetensors"), model)


def test_torch_checkpoints_are_read(model: Stellar, saved: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed(load_file(saved)), "epoch": 3}, tmp_path / "torch.ckpt")
    assert_same(load_checkpoint(tmp_path / "torch.ckpt"), model)


def test_pickled_code_is_refused_and_never_run(tmp_path: Path) -> None:
    witness = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (witness,)

    (tmp_path / "bomb.pt").write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=2))
    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.zip.pt")
    for name in ("bomb.pt", "bomb.zip.pt"):
        with pytest.raises(CheckpointError, match="holds only tensors"):
            load_checkpoint(tmp_path / name)
    assert not witness.exists()


def test_unknown_missing_and_misshapen_keys_are_all_named(saved: Path, tmp_path: Path) -> None:
    tensors = load_file(saved)
    tensors["encoder.extra"] = torch.zeros(3)
    del tensors["decoder_proj.bias"]
    tensors["dense_proj.bias"] = torch.zeros(65)
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "bad.safetensors")
    message = str(caught.value)
    assert "unknown key encoder.extra [3]" in message
    assert "missing key decoder_proj.bias, expected shape [32]" in message
    assert "dense_proj.bias: expected shape [64], got [65]" in message


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 no tensors here")
    with pytest.raises(CheckpointError, match=r"photo\.jpg: expected a safetensors file"):
        load_checkpoint(tmp_path / "photo.jpg")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="missing key sparse_tokens"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nothing.safetensors")


def test_heads_of_an_unknown_width_must_be_told(tmp_path: Path) -> None:
    model = Stellar(get_preset("debug", width=60, num_heads=5))
    save_checkpoint(model, tmp_path / "odd.safetensors")
    assert_same(load_checkpoint(tmp_path / "odd.safetensors"), model)  # ours says it in the metadata
    save_file(load_file(tmp_path / "odd.safetensors"), tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="say num_heads"):
        load_checkpoint(tmp_path / "bare.safetensors")
    assert_same(load_checkpoint(tmp_path / "bare.safetensors", num_heads=5), model)


def test_tokenizer_may_come_from_its_own_file(tmp_path: Path) -> None:
    model = Stellar(get_preset("debug", head="vq", vqgan_channels=32))
    save_checkpoint(model, tmp_path / "vq.safetensors")
    tensors = load_file(tmp_path / "vq.safetensors")
    tokenizer = {k.removeprefix("tokenizer."): v for k, v in tensors.items() if k.startswith("tokenizer.")}
    torch.save(tokenizer, tmp_path / "vqgan.bin")
    save_file(
        {k: v for k, v in tensors.items() if not k.startswith("tokenizer.")}, tmp_path / "bare.safetensors"
    )
    with pytest.raises(CheckpointError, match="no tokenizer"):
        load_checkpoint(tmp_path / "bare.safetensors")
    assert_same(load_checkpoint(tmp_path / "bare.safetensors", vqgan=tmp_path / "vqgan.bin"), model)
