"""Sizes: of every mode, of odd images, and what is left out for its size.

``tests/data/img2dataset_sizes.csv`` was written once, by the resizer of img2dataset 1.47.
"""

import csv
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpipe.errors import ConfigError
from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_sizes import Size, check_size, plan_sizes
from tests.formats.images import drawing, opened, options, resize, saved

RULES = [
    # mode, only if bigger, from, to; what img2dataset's README and code say
    ("no", False, (300, 200), (300, 200)),
    ("keep_ratio", False, (300, 200), (96, 64)),
    ("keep_ratio", False, (200, 300), (64, 96)),
    ("keep_ratio", False, (30, 20), (96, 64)),
    ("keep_ratio", True, (30, 20), (30, 20)),
    ("keep_ratio", True, (300, 20), (300, 20)),
    ("keep_ratio", True, (301, 200), (96, 64)),
    ("keep_ratio_largest", False, (300, 200), (64, 43)),
    ("keep_ratio_largest", False, (30, 20), (64, 43)),
    ("keep_ratio_largest", True, (64, 20), (64, 20)),
    ("keep_ratio_largest", True, (65, 20), (64, 20)),
    ("center_crop", False, (300, 200), (64, 64)),
    ("center_crop", False, (30, 20), (64, 64)),
    ("center_crop", True, (300, 20), (300, 20)),
    ("center_crop", True, (300, 65), (64, 64)),
    ("border", False, (300, 200), (64, 64)),
    ("border", False, (3, 2), (64, 64)),
    ("border", True, (30, 20), (30, 20)),
    ("border", True, (65, 1), (64, 64)),
    # halves are rounded to the even number
    ("keep_ratio_largest", False, (128, 5), (64, 2)),
    ("keep_ratio_largest", False, (128, 7), (64, 4)),
]


@pytest.mark.parametrize(("mode", "only_if_bigger", "before", "after"), RULES)
def test_modes_give_the_sizes_that_img2dataset_gives(mode, only_if_bigger, before, after):
    changes = {"resize_mode": mode, "image_size": 64, "resize_only_if_bigger": only_if_bigger}
    for kind in ("png", "jpeg"):
        made = resize(saved(drawing(*before), kind), **changes)
        assert (made.width, made.height) == after == opened(made.content).size
        assert (made.original_width, made.original_height) == before


def rows_of_img2dataset() -> list[dict[str, str]]:
    path = Path(__file__).parents[1] / "data" / "img2dataset_sizes.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_sizes_are_those_of_img2dataset():
    rows = rows_of_img2dataset()
    columns = ("resize_mode", "resize_only_if_bigger", "image_size")
    for (mode, only_if_bigger, image_size), some in groupby(
        rows, lambda row: tuple(map(row.get, columns))
    ):
        asked = options(
            resize_mode=mode,
            resize_only_if_bigger=only_if_bigger == "true",
            image_size=int(image_size),
            # the format without a limit that images of one pixel would reach
            encode_format="png",
        )
        for row in some:
            plan = plan_sizes(Size(int(row["width"]), int(row["height"])), asked)
            assert plan.final == (int(row["made_width"]), int(row["made_height"])), row
    assert len(rows) == 612


@pytest.mark.parametrize("encode_format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 10_000), (10_000, 1), (7, 4_999)])
@pytest.mark.parametrize("mode", ["border", "keep_ratio_largest", "center_crop", "keep_ratio"])
def test_odd_images(mode, size, encode_format):
    changes = {"resize_mode": mode, "image_size": 8, "encode_format": encode_format}
    content = saved(drawing(*size), "jpeg")
    longest = round(8 * max(size) / min(size))
    if (
        mode == "keep_ratio"
        and longest > {"jpg": 65_500, "png": 10**6, "webp": 16_383}[encode_format]
    ):
        with pytest.raises(ImageError, match=f"side too long for {encode_format}"):
            resize(content, **changes)
        return
    made = resize(content, **changes)
    assert opened(made.content).size == (made.width, made.height)


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    image_size=st.integers(1, 300),
    mode=st.sampled_from(["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"]),
    only_if_bigger=st.booleans(),
)
def test_the_plan_holds_for_any_size(width, height, image_size, mode, only_if_bigger):
    plan = plan_sizes(
        Size(width, height),
        options(resize_mode=mode, image_size=image_size, resize_only_if_bigger=only_if_bigger),
    )
    assert min(*plan.scaled, *plan.final) >= 1
    if mode == "no" or (only_if_bigger and not plan.is_downscale):
        assert plan.final == plan.scaled == (width, height)
    elif mode in ("border", "center_crop"):
        assert plan.final == (image_size, image_size)
    else:
        assert plan.final == plan.scaled
        assert (min if mode == "keep_ratio" else max)(plan.final) == image_size
    if mode == "center_crop":
        assert min(plan.scaled) >= min(plan.final)
    assert plan.is_downscale is False or max(plan.scaled) < max(width, height)


@given(
    width=st.integers(1, 120),
    height=st.integers(1, 120),
    image_size=st.integers(1, 90),
    mode=st.sampled_from(["border", "keep_ratio", "keep_ratio_largest", "center_crop"]),
)
def test_what_is_written_has_the_planned_size(width, height, image_size, mode):
    changes = {"resize_mode": mode, "image_size": image_size}
    plan = plan_sizes(Size(width, height), options(**changes))
    made = resize(saved(drawing(width, height), "jpeg"), **changes)
    assert opened(made.content).size == plan.final == (made.width, made.height)


@pytest.mark.parametrize(
    ("size", "limits", "failure", "text"),
    [
        ((99, 500), {"min_image_size": 100}, ImageFailure.TOO_SMALL, "image too small"),
        ((500, 99), {"min_image_size": 100}, ImageFailure.TOO_SMALL, "image too small"),
        ((0, 99), {}, ImageFailure.TOO_SMALL, "image too small"),
        ((100, 101), {"max_image_area": 10_000}, ImageFailure.AREA, "image area too large"),
        ((100, 301), {"max_aspect_ratio": 3}, ImageFailure.ASPECT_RATIO, "aspect ratio too large"),
    ],
)
def test_filters(size, limits, failure, text):
    with pytest.raises(ImageError) as caught:
        check_size(Size(*size), options(**limits))
    assert (caught.value.failure, caught.value.text) == (failure, text)


def test_the_limits_themselves_pass():
    limits = {"min_image_size": 100, "max_image_area": 30_000, "max_aspect_ratio": 3}
    check_size(Size(100, 300), options(**limits))


def test_what_would_become_too_large_is_left_out():
    with pytest.raises(ImageError, match="resized image area too large") as caught:
        resize(saved(drawing(1, 10_000), "png"), image_size=256)
    assert caught.value.failure is ImageFailure.RESULT_TOO_LARGE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resize_mode": "keepratio"}, "resize_mode is 'keepratio', and must be one of no, border"),
        ({"encode_format": "gif"}, "encode_format is 'gif'"),
        ({"upscale_interpolation": "box"}, "upscale_interpolation is 'box'"),
        ({"encode_quality": 101}, "goes from 0 to 100 for jpg"),
        ({"encode_format": "png", "encode_quality": 95}, "is 95, and goes from 0 to 9 for png"),
        ({"encode_format": "webp", "encode_quality": 0}, "goes from 1 to 100 for webp"),
        ({"image_size": 0}, "image_size is 0, and must be 1 or more"),
        ({"max_image_area": 0}, "max_image_area is 0"),
        ({"max_aspect_ratio": 0.5}, "max_aspect_ratio is 0.5"),
        ({"max_aspect_ratio": float("nan")}, "max_aspect_ratio is nan"),
    ],
)
def test_options_out_of_range_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        options(**changes)
