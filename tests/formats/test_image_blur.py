import numpy as np
import pytest
from PIL import Image

from hpcpipe.formats.image_blur import Box, blur, check_boxes
from hpcpipe.formats.image_errors import ImageError, ImageFailure
from tests.formats.images import photo, pixels, resize, saved

FACE = [0.3, 0.05, 0.6, 0.4]
"""Where the face of ``astronaut.jpg`` is."""


def detail(image) -> float:
    """How much neighbours differ."""
    return float(np.abs(np.diff(np.asarray(image, float), axis=0)).mean())


@pytest.mark.parametrize("mode", ["no", "keep_ratio"])
def test_a_face_is_blurred_and_the_rest_is_not(mode):
    content = photo("astronaut")
    changes = {"resize_mode": mode, "image_size": 300, "encode_format": "png"}
    sharp = pixels(resize(content, **changes).content)
    soft = pixels(resize(content, [FACE], **changes).content)
    side = len(sharp)
    left, top, right, bottom = (int(side * part) for part in FACE)
    assert detail(soft[top:bottom, left:right]) < 0.25 * detail(sharp[top:bottom, left:right])
    # grown by a tenth, and with three deviations of soft edges
    edge = int(0.5 * max(right - left, bottom - top))
    assert np.array_equal(soft[bottom + edge :], sharp[bottom + edge :])
    assert np.array_equal(soft[:, right + edge :], sharp[:, right + edge :])


@pytest.mark.parametrize("side", [40, 700])
def test_the_strength_is_that_of_the_obfuscation_of_imagenet(side):
    """The inside of a large box is a Gaussian of a tenth of the box's longer side."""
    line = np.zeros((side, side, 3), np.uint8)
    line[:, side // 2] = 255
    soft = blur(line, [Box(0, 0, 1, 1)])[side // 2, :, 0].astype(float)
    sigma = 0.1 * side
    there = np.arange(side) - side // 2
    expected = 255 / (sigma * np.sqrt(2 * np.pi)) * np.exp(-(there**2) / (2 * sigma**2))
    assert np.abs(soft - expected).max() < 1.5


def test_boxes_follow_the_image_as_it_is_shown():
    exif = Image.Exif()
    exif[0x0112] = 6
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8))
    content = saved(noise, "png", exif=exif)
    made = resize(content, [[0, 0, 1, 0.2]], resize_mode="no", encode_format="png")
    seen = pixels(made.content)
    assert seen.shape[:2] == (300, 200)
    assert detail(seen[:50]) < 0.2 * detail(seen[150:])


def test_all_boxes_count_and_edges_are_reached():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (100, 100, 3), np.uint8)
    soft = blur(noise, [Box(0, 0, 0.3, 0.3), Box(0.7, 0.7, 1, 1)])
    assert detail(soft[:30, :30]) < 0.3 * detail(noise)
    assert detail(soft[-8:, -8:]) < 0.3 * detail(noise)
    assert detail(soft[:20, 80:]) == detail(noise[:20, 80:])


@pytest.mark.parametrize(
    "box", [(0.5, 0.5, 0.5, 0.5), (0, 0, 0.001, 0.001), (-0.9, -0.9, -0.5, -0.5)]
)
def test_boxes_of_hardly_a_pixel_and_outside(box):
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    soft = blur(noise, [Box(*box)])
    assert (soft.shape, soft.dtype) == (noise.shape, noise.dtype)
    assert np.array_equal(soft[20:, 40:], noise[20:, 40:])


def test_no_boxes_change_nothing():
    content = photo("astronaut")
    assert resize(content, []).content == resize(content).content


@pytest.mark.parametrize(
    ("boxes", "text"),
    [
        ([[0, 0, 1]], "blurring boxes are not four numbers each"),
        ([0.1, 0.2, 0.3, 0.4], "blurring boxes are not four numbers each"),
        ([["a", "b", "c", "d"]], "blurring boxes are not four numbers each"),
        ("[[0, 0, 1, 1]]", "blurring boxes are not four numbers each"),
        ([[None, 0, 1, 1]], "blurring boxes are not four numbers each"),
        ([[10, 20, 110, 120]], "blurring boxes are not relative to the image"),
        ([[float("nan"), 0, 1, 1]], "blurring boxes are not relative to the image"),
        ([[0.5, 0, 0.4, 1]], "blurring boxes end before they begin"),
    ],
)
def test_an_image_whose_boxes_are_wrong_is_left_out(boxes, text):
    with pytest.raises(ImageError, match=f"^{text}$") as caught:
        resize(photo("cat"), boxes)
    assert caught.value.failure is ImageFailure.BOXES


def test_boxes_may_be_arrays():
    assert check_boxes(np.array([[0, 0, 0.5, 1.02]])) == [Box(0, 0, 0.5, 1.02)]
    assert check_boxes(None) == []
