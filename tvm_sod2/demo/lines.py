"""Lines of text drawn with Pillow, and PP-OCR's way from an image to the recogniser's input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT = 48
"""Rows of the images that the recogniser was trained on."""


def draw(text: str, size: int = 40) -> Image.Image:
    """The text in black on white, cut as a text detector would: little margin on each side."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    side, over = size // 10, size // 4
    box = (math.ceil(right - left) + 2 * side, math.ceil(bottom - top) + 2 * over)
    image = Image.new("RGB", box, "white")
    ImageDraw.Draw(image).text((side - left, over - top), text, font=font, fill="black")
    return image


def prepare(image: Image.Image) -> np.ndarray:
    """float32 [3, 48, width]: height 48 at the same ratio, BGR, values from -1 to 1."""
    width = math.ceil(HEIGHT * image.width / image.height)
    scaled = image.convert("RGB").resize((width, HEIGHT), Image.Resampling.BILINEAR)
    bgr = np.asarray(scaled, dtype=np.float32)[:, :, ::-1]
    return np.ascontiguousarray(((bgr / 255 - 0.5) / 0.5).transpose(2, 0, 1))


def batch(images: Sequence[np.ndarray]) -> np.ndarray:
    """float32 [n, 3, 48, widest]: narrower images get zeros on their right, as PP-OCR pads."""
    widest = max(image.shape[2] for image in images)
    padded = np.zeros((len(images), 3, HEIGHT, widest), np.float32)
    for row, image in zip(padded, images, strict=True):
        row[:, :, : image.shape[2]] = image
    return padded
