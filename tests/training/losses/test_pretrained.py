"""Pretrained teachers: what is made of their answers, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from service.tokens.size import ImageSize, sides
from tests.training import teachers
from training.config import DistillationConfig
from training.losses.pretrained import Pretrained

CPU = torch.device("cpu")
IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def pretrained(teacher: str, **overrides: object) -> Pretrained:
    config = DistillationConfig(teacher=teacher, **{"size": 16} | overrides)  # type: ignore[arg-type]
    return Pretrained(config, CPU)


def of_ours(function: str, **overrides: object) -> Pretrained:
    return pretrained(f"tests.training.teachers:{function}", **overrides)


@pytest.fixture(scope="module")
def onnx_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.onnx"
    teachers.write_onnx(path)
    return path


def test_a_map_is_seen_as_it_is_and_its_mean_stands_for_the_picture() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    seen = of_ours("map_teacher", mean=mean, std=std)(IMAGES)
    wanted = teachers.map_teacher()(
        (IMAGES - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    )
    torch.testing.assert_close(seen.grid, wanted)
    torch.testing.assert_close(seen.whole, wanted.mean(dim=(2, 3)))
    assert not seen.whole.requires_grad


@pytest.mark.parametrize("size", [16, (24, 16), (8, 24)])
def test_tokens_are_a_grid_and_the_first_of_those_before_it_stands_for_the_picture(size: ImageSize) -> None:
    images = torch.rand(3, 3, *sides(size), generator=torch.Generator().manual_seed(2))
    expected, with_cls, without = (
        of_ours(name, size=size)(images) for name in ("map_teacher", "cls_teacher", "patch_teacher")
    )
    torch.testing.assert_close(with_cls.grid, expected.grid)
    torch.testing.assert_close(without.grid, expected.grid)
    assert (with_cls.whole == 7).all()
    torch.testing.assert_close(without.whole, expected.whole)


def test_a_vector_has_no_grid() -> None:
    teacher = of_ours("vector_teacher")
    seen = teacher(IMAGES)
    assert seen.grid is None
    assert not teacher.has_grid
    torch.testing.assert_close(seen.whole, of_ours("map_teacher")(IMAGES).whole)


def test_an_onnx_file_sees_what_the_module_does_that_it_was_made_of(onnx_teacher: Path) -> None:
    seen, expected = pretrained(str(onnx_teacher))(IMAGES), of_ours("map_teacher")(IMAGES)
    torch.testing.assert_close(seen.grid, expected.grid)
    torch.testing.assert_close(seen.whole, expected.whole)


def test_it_sees_in_float32_under_autocast() -> None:
    exact = of_ours("map_teacher")(IMAGES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = of_ours("map_teacher")(IMAGES)
    assert seen.whole.dtype == torch.float32
    torch.testing.assert_close(seen.whole, exact.whole)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("nowhere.onnx", "no file is called nowhere.onnx"),
        ("resnet50", "expected a file called ….onnx, or package.module:function, got resnet50"),
        ("no.such.package:teacher", "no.such.package:teacher can't be imported: No module named 'no'"),
        ("tests.training.teachers:nobody", "can't be imported: .* has no attribute 'nobody'"),
        ("tests.training.teachers:no_teacher", "expected a torch module of .*, got 'no module'"),
        ("tests.training.teachers:scalar_teacher", r"expected \(B, C, h, w\), .* from it, got \(6,\)"),
    ],
)
def test_what_is_no_teacher_is_refused_with_the_reason(teacher: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^distillation.teacher: .*{message}"):
        pretrained(teacher)


def test_a_file_that_is_no_onnx_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.onnx"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=rf"distillation.teacher: {path} can't be loaded: "):
        pretrained(str(path))


def test_a_grid_in_another_shape_than_the_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in the shape of 36 × 20 pixels, got \d+: choose a size that"):
        of_ours("patch_teacher", size=(36, 20))


def test_pictures_of_a_size_that_it_does_not_take_are_refused(onnx_teacher: Path) -> None:
    with pytest.raises(ValueError, match=r"takes no pictures of 24 pixels \(distillation.size\): "):
        pretrained(str(onnx_teacher), size=24)
