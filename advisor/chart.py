"""A bar chart as a PNG, for letters: drawn here from nothing but arithmetic, as no drawing library is needed for bars.

PNG as ISO/IEC 15948: one IHDR (8 bits, red, green, blue, alpha), one IDAT (zlib), one IEND. The ground is transparent,
and both colours stand out from light and dark paper, since nobody knows which a mail program has.
"""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

WIDTH_PX, HEIGHT_PX = 992, 192  # twice the size at which it is shown, for dense screens
GAP_PX = 10
RADIUS_PX = 6
LEAST_PX = 4  # of a bar that stands for more than nothing
NOW = (0x1F, 0x9D, 0x78)
BEFORE = (0x9A, 0xA3, 0x9A)
LINE = (0x9A, 0xA3, 0x9A, 0x66)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
FINE = 4  # samples a pixel and side, which makes the corners smooth


def bars(values: Sequence[int], last: int) -> bytes:
    """One bar for each value, from left to right; the `last` of them in the colour that counts. Nothing is negative."""
    image = np.zeros((HEIGHT_PX, WIDTH_PX, 4), np.uint8)
    image[-2:, :] = LINE
    most = max(max(values, default=0), 1)
    room = HEIGHT_PX - 2
    for number, value in enumerate(values):
        left = round(number * (WIDTH_PX + GAP_PX) / len(values))
        right = round((number + 1) * (WIDTH_PX + GAP_PX) / len(values)) - GAP_PX
        height = max(LEAST_PX, round(room * value / most)) if value > 0 else 0
        if height:
            colour = NOW if number >= len(values) - last else BEFORE
            image[room - height : room, left:right, :3] = colour
            image[room - height : room, left:right, 3] = _rounded(right - left, height)
    return _png(image)


def _rounded(width: int, height: int) -> npt.NDArray[np.uint8]:
    """How much of each pixel a bar covers, 0 to 255, whose upper corners are round."""
    radius = min(RADIUS_PX, height, width // 2)
    cover = np.full((height, width), 255, np.uint8)
    at = (np.arange(radius * FINE) + 0.5) / FINE
    inside = (radius - at[:, None]) ** 2 + (radius - at[None, :]) ** 2 <= radius**2
    corner = inside.reshape(radius, FINE, radius, FINE).mean(axis=(1, 3)) * 255
    cover[:radius, :radius] = corner
    cover[:radius, width - radius :] = corner[:, ::-1]
    return cover


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    height, width, _ = image.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, width * 4)], axis=1)  # filter: none
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
