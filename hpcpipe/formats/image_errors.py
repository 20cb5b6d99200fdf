"""Why an image was left out: a closed set of classes, each with its words."""

from enum import StrEnum


class ImageFailure(StrEnum):
    """One class of failure; its value is what tables and counters show."""

    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported_image"
    """An image, but of a format or a kind that is not read."""
    TRUNCATED = "truncated_image"
    """The file ends before the image does."""
    BROKEN = "broken_image"
    """The file breaks the rules of its format."""
    TOO_SMALL = "image_too_small"
    AREA = "image_area_too_large"
    ASPECT_RATIO = "aspect_ratio_too_large"
    RESULT_TOO_LARGE = "resized_too_large"
    """What it would be resized to is over the limits; comes of extreme aspect ratios."""
    BOXES = "bad_blurring_boxes"


class ImageError(Exception):
    """An image that is left out.

    Attributes:
        failure: its class.
        text: what is wrong, in words that many images share. Where img2dataset has words for it,
            they are these.
    """

    def __init__(self, failure: ImageFailure, text: str) -> None:
        """Raises nothing.

        Args:
            failure: the class.
            text: what is wrong.
        """
        super().__init__(text)
        self.failure = failure
        self.text = text
