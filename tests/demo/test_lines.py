"""Drawing and PP-OCR's preprocessing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tvm_sod2.demo.lines import HEIGHT, batch, draw, prepare


def test_longer_text_is_wider_and_has_ink_on_a_white_page() -> None:
    short, long = (np.asarray(draw(text)) for text in ("Hi", "Hi there"))
    assert short.shape[1] < long.shape[1]
    assert short.min() < 50
    assert (short[0] == 255).all()


def test_text_touches_no_edge() -> None:
    image = np.asarray(draw("jÅgy|"))
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 255).all()


@pytest.mark.parametrize(("width", "height"), [(320, 48), (100, 25), (7, 48), (333, 97)])
def test_prepare_keeps_the_ratio_at_height_48(width: int, height: int) -> None:
    array = prepare(Image.new("RGB", (width, height)))
    assert array.dtype == np.float32
    assert array.shape == (3, HEIGHT, -(-HEIGHT * width // height))


def test_prepare_swaps_red_and_blue_and_scales_to_plus_minus_one() -> None:
    array = prepare(Image.new("RGB", (10, 48), (255, 0, 51)))
    np.testing.assert_allclose(array[:, 0, 0], [-0.6, -1, 1], atol=1e-6)


def test_batch_pads_with_zeros_on_the_right() -> None:
    images = [np.full((3, HEIGHT, width), width, np.float32) for width in (2, 5)]
    padded = batch(images)
    assert padded.shape == (2, 3, HEIGHT, 5)
    assert (padded[0, :, :, :2] == 2).all()
    assert (padded[0, :, :, 2:] == 0).all()
    assert (padded[1] == 5).all()
