"""Image-like inputs: light pages with dark text, as the OCR models expect them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "0123456789", "ACME", "Ltd.", "42%"]


def pages(count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """`count` pages as float32 (count, 3, height, width), from -1 (ink) to 1 (paper)."""
    return np.stack([_page(height, width, rng) for _ in range(count)])


def _page(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(225, 256, 3)))
    draw = ImageDraw.Draw(image)
    size = int(min(32, max(10, height * 0.7)))
    font = ImageFont.load_default(size)
    for top in range(int(rng.integers(0, 6)), max(height - size // 2, 1), int(size * 1.6)):
        text = " ".join(rng.choice(WORDS, 12))
        ink = tuple(int(v) for v in rng.integers(0, 70, 3))
        draw.text((int(rng.integers(0, max(width // 3, 1))), top), text, fill=ink, font=font)
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1.0
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
