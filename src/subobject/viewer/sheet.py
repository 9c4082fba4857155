"""Contact sheets: pictures side by side, each with a line of text."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_STRIP = 22


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """Put a white strip with a line of text under a picture ``(H, W, 3)`` uint8."""
    height, width = picture.shape[:2]
    canvas = Image.new("RGB", (width, height + _STRIP), "white")
    canvas.paste(Image.fromarray(picture))
    ImageDraw.Draw(canvas).text((4, height + 3), text, fill=(30, 30, 30), font=ImageFont.load_default(14))
    return np.asarray(canvas)


def sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Lay rows of titled pictures out; ``(H, W, 3)`` uint8, white where nothing is.

    Args:
        rows: Titles and pictures, each ``(h, w, 3)`` uint8, of any sizes.
    """
    strips = [[captioned(picture, title) for title, picture in row] for row in rows]
    heights = [max(one.shape[0] for one in row) for row in strips]
    canvas = np.full((sum(heights), max(sum(one.shape[1] for one in row) for row in strips), 3), 255, dtype=np.uint8)
    top = 0
    for row, height in zip(strips, heights, strict=True):
        left = 0
        for one in row:
            canvas[top : top + one.shape[0], left : left + one.shape[1]] = one
            left += one.shape[1]
        top += height
    return canvas
