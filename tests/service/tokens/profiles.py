"""Colour profiles (ICC.1:2001-04): matrices and curves, a table for print, and what they stand for."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from tests.service.tokens.values import Values

HEADER = 128
D50 = (0.9642, 1.0, 0.8249)
P3_TO_XYZ = np.array(
    [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]]
)
XYZ_TO_SRGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.969266, 1.8760108, 0.041556],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
BRADFORD_TO_D50 = np.array(
    [
        [1.0478112, 0.0228866, -0.050127],
        [0.0295424, 0.9904844, -0.0170491],
        [-0.0092345, 0.0150436, 0.7521316],
    ]
)


def profile(space: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of these tags, and of those that every profile must have."""
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(*D50)} | tags
    table, body = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        place = HEADER + 4 + 12 * len(tags) + len(body)
        table += tag + struct.pack(">II", place, len(value))
        body += value + b"\0" * (-len(value) % 4)
    header = struct.pack(
        ">I4xI4s4s4s6H4s28x12s48x",
        HEADER + len(table) + len(body),
        0x02400000,
        kind,
        space,
        connection,
        *(2026, 1, 1, 0, 0, 0),
        b"acsp",
        xyz(*D50)[8:],
    )
    return header + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def curve(gamma: Callable[[Values], Values]) -> bytes:
    steps = np.rint(gamma(np.linspace(0, 1, 1024)) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + steps.tobytes()


def linear(encoded_values: Values) -> Values:
    """sRGB's curve (IEC 61966-2-1), which Display P3 has, too."""
    return np.where(
        encoded_values <= 0.04045, encoded_values / 12.92, ((encoded_values + 0.055) / 1.055) ** 2.4
    )


def unlinear(light: Values) -> Values:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def display_p3() -> bytes:
    columns = BRADFORD_TO_D50 @ P3_TO_XYZ
    tags = {name: xyz(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(linear))
    return profile(b"RGB ", b"mntr", b"XYZ ", tags)


def linear_grey() -> bytes:
    return profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": curve(lambda light: light)})


def inks() -> bytes:
    """Of print: a table (ICC's lut8Type) that knows paper, each ink alone, and takes all else for black."""
    lab = np.zeros((2, 2, 2, 2, 3)) + np.array((0, 128, 128))
    for ink, colour in INKS.items():
        lab[ink] = np.array(colour) * (2.55, 1, 1) + (0, 128, 128)
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel().tolist())
    table = b"mft1\0\0\0\0\4\3\2\0" + matrix + 4 * ramp + np.rint(lab).astype(np.uint8).tobytes() + 3 * ramp
    return profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table})


INKS = {(0, 0, 0, 0): (100, 0, 0), (1, 0, 0, 0): (60, -20, -30), (0, 1, 0, 0): (50, 40, 0)}
"""CIELab of paper, cyan and magenta."""


def lab_in_srgb(lightness: float, a: float, b: float) -> Values:
    """ISO 13655's formulas, by Bradford's matrix to D65."""
    y = (lightness + 16) / 116
    cubes = np.array([y + a / 500, y, y - b / 200])
    light = np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * D50
    return unlinear(XYZ_TO_SRGB @ np.linalg.inv(BRADFORD_TO_D50) @ light)
