"""Synthetic digits, and a small network that learns to read them: what both training programs compute.

Every batch is drawn from the seed and the number of its step alone, so a training that continues from its weights and
its step number is the same training, to the last bit.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Weights = list[Floats]
Batch = tuple[Floats, NDArray[np.int64]]

_GLYPHS = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00010 00100 01000 11111",
    "11111 00010 00100 00010 00001 10001 01110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)
DIGITS = np.array([[int(bit) for bit in glyph.replace(" ", "")] for glyph in _GLYPHS], dtype=np.float32)
NOISE = 0.75
"""Standard deviation of what is added to every pixel, against a contrast of 1."""
HIDDEN = 384
LEARNING_RATE = 0.008
TEST_STEP = 1 << 40
"""A step no training comes to: the images it would see are what it is tested on."""
TEST_IMAGES = 2_000


def draw_batch(seed: int, step: int, rank: int, images: int) -> Batch:
    """Noisy images of digits with their labels: the same for the same arguments, wherever they are drawn."""
    stream = np.random.default_rng((seed, step, rank))  # noqa: TID251 - a job brings its own, seeded stream
    labels = stream.integers(0, len(DIGITS), images)
    noise = stream.standard_normal((images, DIGITS.shape[1]), dtype=np.float32) * np.float32(NOISE)
    return DIGITS[labels] + noise, labels


def first_weights(seed: int) -> Weights:
    """The weights a training starts from: one matrix per layer."""
    stream = np.random.default_rng(seed)  # noqa: TID251 - a job brings its own, seeded stream
    shapes = ((DIGITS.shape[1], HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, len(DIGITS)))
    return [stream.standard_normal(shape, dtype=np.float32) / np.float32(shape[0] ** 0.5) for shape in shapes]


def gradients(weights: Weights, batch: Batch) -> Weights:
    """How the loss over a batch changes with every weight."""
    images, labels = batch
    outputs = _forward(weights, images)
    slope = _probabilities(outputs[-1])
    slope[np.arange(len(labels)), labels] -= 1
    slope /= np.float32(len(labels))
    found: Weights = []
    for layer in reversed(range(len(weights))):
        found.append(outputs[layer].T @ slope)
        if layer:
            slope = (slope @ weights[layer].T) * (outputs[layer] > 0)
    return found[::-1]


def descend(weights: Weights, slopes: Weights) -> None:
    """One step of gradient descent, in place."""
    for weight, slope in zip(weights, slopes, strict=True):
        weight -= np.float32(LEARNING_RATE) * slope


def judge(weights: Weights, seed: int) -> tuple[float, float]:
    """Mean loss and accuracy (0 to 1) on images that no training sees."""
    images, labels = draw_batch(seed, TEST_STEP, 0, TEST_IMAGES)
    probabilities = _probabilities(_forward(weights, images)[-1])
    loss = -np.log(probabilities[np.arange(len(labels)), labels] + np.float32(1e-9)).mean()
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


def digest(weights: Weights) -> str:
    """Twelve hexadecimal digits that tell any two sets of weights apart."""
    return hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest()[:12]


def _forward(weights: Weights, images: Floats) -> list[Floats]:
    """What goes into each layer, and at last what comes out."""
    outputs = [images]
    for weight in weights[:-1]:
        outputs.append(np.maximum(outputs[-1] @ weight, np.float32(0)))
    outputs.append(outputs[-1] @ weights[-1])
    return outputs


def _probabilities(scores: Floats) -> Floats:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares
