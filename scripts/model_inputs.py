"""What the dev models are measured on: sizes of inputs, and pages for those that look for text."""

from __future__ import annotations

import numpy as np

Sizes = dict[str, int]


def pages(*sides: tuple[int, int, int]) -> list[Sizes]:
    """Batches of images of the PaddleOCR detectors."""
    names = [f"p2o_DynamicDimension_{axis}" for axis in range(3)]
    return [dict(zip(names, side, strict=True)) for side in sides]


def lines(**height: int) -> list[Sizes]:
    """Lines of text for the PaddleOCR recognisers."""
    names = [f"p2o_DynamicDimension_{axis}" for axis in range(2)]
    return [dict(zip(names, size, strict=True), **height) for size in ((1, 96), (1, 320), (8, 320))]


def each(**sizes: tuple[int, int, int]) -> list[Sizes]:
    """Small, typical and large from three values of each dim."""
    return [dict(zip(sizes, column, strict=True)) for column in zip(*sizes.values(), strict=True)]


SECOND = 16_000  # samples
CLIPS = (SECOND, 10 * SECOND, 30 * SECOND)
ONE = (1, 1, 1)
WINDOWS = each(input_d0=(1, 4, 64), input_d1=(512, 512, 512), state_d1=(1, 4, 64))

SHAPES: dict[str, list[Sizes]] = {
    "320n": each(batch=ONE, height=(160, 320, 640), width=(160, 320, 640)),
    "ch_PP-OCRv3_det_infer": pages((1, 160, 160), (1, 480, 640), (1, 960, 960)),
    "ch_PP-OCRv3_rec_infer": lines(),
    "ch_PP-OCRv4_det_infer": pages((1, 160, 160), (1, 480, 640), (1, 960, 960)),
    "ch_PP-OCRv4_rec_infer": lines(x_d2=48),
    "ch_ppocr_mobile_v2.0_cls_infer": each(x_d0=(1, 1, 8), x_d2=(48, 48, 48), x_d3=(96, 192, 192)),
    "embedding_model": each(unk__314=(1, 4, 32)),
    "fknetwork.dynamic": each(N=(1, 64, 4096)),
    "fknetwork_int8": each(N=(1, 64, 4096)),
    "kaldi_conv": each(batch_size=ONE, N=CLIPS),
    "magika": each(unk__214=(1, 8, 64)),
    "melspectrogram": each(batch_size=ONE, samples=CLIPS),
    "model_v8": each(N=(1, 4, 16)),
    "nemo80": each(batch_size=ONE, N=CLIPS),
    "nemo80_conv": each(batch_size=ONE, N=CLIPS),
    "nmp": each(unk__749=(1, 2, 8)),
    "onet": each(N=(1, 8, 64)),
    "pnet": each(N=ONE, M1=(48, 240, 480), M2=(64, 320, 640)),
    "resample_48_16": each(batch_size=ONE, N=(3 * CLIPS[0], 3 * CLIPS[1], 3 * CLIPS[2])),
    "rnet": each(N=(1, 16, 256)),
    "sig_bak_ovr": each(N=(1, 2, 8)),
    "silero_vad": WINDOWS,
    "silero_vad_16k_sequence": each(sequence_length=(1, 32, 512)),
    "silero_vad_v5": WINDOWS,
    "silero_vad_v6": each(seq_len=(1, 32, 512)),
}
"""Sizes of the inputs' symbols: small, typical, large."""


DETECTORS = ("ch_PP-OCRv3_det_infer", "ch_PP-OCRv4_det_infer")
"""Models that find nothing in noise, so that no relative error could be told."""


def page(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Light pages with rows of dark strokes, float32 in [-1, 1]."""
    image = np.full(shape, 0.9, np.float32)
    for top in range(8, shape[-2] - 20, 24):
        for left in range(8, shape[-1] - 8, 12):
            image[..., top : top + 14, left : left + int(rng.integers(0, 9))] = -0.8
    return image
