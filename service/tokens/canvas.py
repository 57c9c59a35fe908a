"""Editing an image through its tokens.

With Z = L S, L says where and S says what. Changing rows of S changes what is shown, changing columns of L
changes where; every row of L keeps summing to 1.

N = h·w patches · r sparse tokens · D width · k index of a token
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import BadEdit
from service.tokens.edits import Blend, Drop, Edit, Keep, Move, Paint, Replace, Scale, Swap, Token
from service.tokens.types import Floats


def apply_edits(
    semantics: Floats,
    localization: Floats,
    grid: tuple[int, int],
    edits: Sequence[Edit],
    donors: Sequence[Floats] = (),
) -> tuple[Floats, Floats]:
    """S (r, D) and L (N, r) after all edits, in their order; the arguments are not changed.

    `donors` holds the semantics of other images. Raises `BadEdit` for indices that don't exist and for edits
    that leave no token.
    """
    canvas = Canvas(semantics, localization, grid, donors)
    for i, edit in enumerate(edits):
        try:
            canvas.apply(edit)
        except _Impossible as error:
            raise BadEdit(f"edits[{i}] ({edit.op}): {error}.") from None
    return canvas.semantics.astype(np.float32), canvas.localization.astype(np.float32)


class _Impossible(ValueError):
    """An edit that is well formed but can't be done here."""


class Canvas:
    """Tokens and localization while they are edited, in double precision."""

    def __init__(
        self, semantics: Floats, localization: Floats, grid: tuple[int, int], donors: Sequence[Floats]
    ) -> None:
        self.semantics: NDArray[np.float64] = semantics.astype(np.float64)
        self.localization: NDArray[np.float64] = localization.astype(np.float64)
        # The softmax's logits, up to a constant in each row.
        self._logits = np.log(np.maximum(self.localization, np.finfo(np.float32).tiny))
        self._remaining = np.ones(len(semantics), dtype=bool)
        self._grid = grid
        self._donors = donors

    def apply(self, edit: Edit) -> None:
        """Change S and L. Raises `_Impossible`."""
        match edit:
            case Drop(token=k):
                self._remove([self._token(k)])
            case Keep(tokens=tokens):
                kept = {self._token(k) for k in tokens}
                self._remove([k for k in range(len(self._remaining)) if k not in kept])
            case Scale(token=k, factor=0.0):
                self._remove([self._token(k)])
            case Scale(token=k, factor=factor):
                self.localization[:, self._token(k)] *= factor
                self._renormalize()
            case Swap(tokens=(a, b)):
                pair = [self._token(a), self._token(b)]
                self.semantics[pair] = self.semantics[pair[::-1]]
            case Replace(token=k, with_=other):
                self.semantics[self._token(k)] = self._foreign(other)
            case Blend(token=k, toward=other, alpha=alpha):
                row = self.semantics[self._token(k)]
                self.semantics[k] = (1 - alpha) * row + alpha * self._foreign(other)
            case Move(token=k, dx=dx, dy=dy):
                column = self._token(k)
                self.localization[:, column] = self._shifted(self.localization[:, column], dx, dy)
                self._renormalize(without=k)
            case Paint(token=k):
                rows = self._region(edit)
                self.localization[rows] = 0
                self.localization[rows, self._token(k)] = 1

    def _token(self, k: int) -> int:
        if k >= len(self._remaining):
            raise _Impossible(f"there are tokens 0 to {len(self._remaining) - 1}, got {k}")
        if not self._remaining[k]:
            raise _Impossible(f"token {k} was dropped before")
        return k

    def _foreign(self, token: Token) -> NDArray[np.float64]:
        width = self.semantics.shape[1]
        if token.semantics is not None:
            if len(token.semantics) != width:
                raise _Impossible(f"semantics: expected {width} numbers, got {len(token.semantics)}")
            return np.asarray(token.semantics, dtype=np.float64)
        assert token.donor is not None
        assert token.token is not None
        if token.donor >= len(self._donors):
            raise _Impossible(f"donor {token.donor} was not sent: there are {len(self._donors)} donor images")
        donor = self._donors[token.donor]
        if token.token >= len(donor):
            raise _Impossible(f"the donor has tokens 0 to {len(donor) - 1}, got {token.token}")
        foreign: NDArray[np.float64] = donor[token.token].astype(np.float64)
        return foreign

    def _remove(self, tokens: list[int]) -> None:
        self._remaining[tokens] = False
        if not self._remaining.any():
            raise _Impossible("no token would be left")
        self.localization[:, ~self._remaining] = 0
        self._renormalize()

    def _shifted(self, column: NDArray[np.float64], dx: int, dy: int) -> NDArray[np.float64]:
        height, width = self._grid
        plane = column.reshape(height, width)
        moved = np.zeros_like(plane)
        if abs(dx) < width and abs(dy) < height:
            target = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
            origin = (slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
            moved[target] = plane[origin]
        return moved.ravel()

    def _region(self, edit: Paint) -> list[int]:
        height, width = self._grid
        if edit.rectangle is not None:
            left, top, right, bottom = edit.rectangle
            if not (left < right <= width and top < bottom <= height):
                raise _Impossible(
                    f"rectangle: expected left < right ≤ {width} and top < bottom ≤ {height}, "
                    f"got {list(edit.rectangle)}"
                )
            return [y * width + x for y in range(top, bottom) for x in range(left, right)]
        assert edit.cells is not None
        for x, y in edit.cells:
            if x >= width or y >= height:
                raise _Impossible(f"cells: the grid has {width} × {height} cells, got {[x, y]}")
        return [y * width + x for x, y in edit.cells]

    def _renormalize(self, without: int | None = None) -> None:
        """Make rows sum to 1; one without mass takes the masked softmax over the remaining tokens' logits.

        `without` is a token that has just left such rows and does not come back into them.
        """
        mass = self.localization.sum(axis=1)
        lost = mass == 0
        if lost.any():
            heirs = self._remaining.copy()
            if without is not None and heirs.sum() > 1:
                heirs[without] = False
            logits = np.where(heirs, self._logits[lost], -np.inf)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            self.localization[lost] = weights
            mass = self.localization.sum(axis=1)
        self.localization /= mass[:, None]
