"""An image's pixels, and those of a JPEG at no more of its size than is needed.

A JPEG is stored as blocks of 8 by 8 frequencies. Leaving out the higher ones gives the image at a
half, a quarter or an eighth of its size, which is quicker than decoding all and shrinking it. What
is decoded is always so much larger than what is wanted that photos on average lose about what they
lose by being written as JPEG of quality 95, or less: ``benchmarks/image_resize.py`` measures it.
"""

from hpcpipe.errors import missing_extra
from hpcpipe.formats.image_errors import ImageError, ImageFailure
from hpcpipe.formats.image_header import ImageHeader
from hpcpipe.formats.image_pillow import DecodedImage, decode_image
from hpcpipe.formats.image_sizes import Size

LARGER_BY_FRACTION = {8: 3, 4: 2, 2: 1.75}
"""How much larger than wanted a part of the size is at least. There, photos come to a mean SSIM of
0.991 to those decoded whole (the worst to 0.97); written as JPEG of 95, to 0.991 to 0.994."""


def open_libraries(extra: str, purpose: str) -> None:
    """Make sure that the libraries for images are there, and keep them to the caller's threads.

    Args:
        extra: the extra of hpcpipe that brings them.
        purpose: what they are wanted for, for messages.

    Returns:
        Nothing.

    Raises:
        SetupError: one is missing.
    """
    try:
        import cv2
        import PIL  # noqa: F401
        import simplejpeg  # noqa: F401
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        raise missing_extra(package, extra, purpose) from error
    # workers and their threads are as many as there are cores for: no threads of its own
    cv2.setNumThreads(0)


def decode(content: bytes, header: ImageHeader, least: Size | None) -> DecodedImage:
    """Decode an image.

    Args:
        content: a whole file.
        header: what `read_header` gave for it.
        least: what the image will be shrunk to, as stored: a JPEG may come at a half, a quarter or
            an eighth of its size, still clearly larger than this, and with colours that
            are not smoothed; None for the full size and all that decoders do.

    Returns:
        The pixels, not yet turned upright.

    Raises:
        ImageError: the image is broken, truncated or of a kind that is not read.
        MemoryError: there is no room for it.
    """
    if header.is_plain_jpeg:
        import simplejpeg

        width, height = _part_of(header.stored, least)
        try:
            pixels = simplejpeg.decode_jpeg(
                content,
                "RGB",
                min_height=height,
                min_width=width,
                # of colours stored at half the size; to be shrunk, by 53 dB the same
                fastupsample=least is not None,
            )
        except ValueError as error:
            if "premature end" in str(error).lower():
                raise ImageError(ImageFailure.TRUNCATED, "jpg image is truncated") from error
            # most warnings are of oddities that lose nothing: Pillow tells those that do
            return decode_image(content, header.kind, header.stored)
        return DecodedImage(pixels, had_alpha=False)
    return decode_image(content, header.kind, header.stored)


def _part_of(stored: Size, least: Size | None) -> Size:
    """The smallest size that a JPEG can be decoded at and that is large enough."""
    if least is not None:
        for fraction, larger in LARGER_BY_FRACTION.items():
            part = Size(-(-stored.width // fraction), -(-stored.height // fraction))
            if part.width >= larger * least.width and part.height >= larger * least.height:
                return part
    return stored
