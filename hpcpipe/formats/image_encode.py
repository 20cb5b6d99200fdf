"""Pixels to a file: jpg, png or webp, without metadata and without a colour profile."""

from typing import Any

from hpcpipe.formats.image_options import EncodeFormat


def encode(pixels: Any, encode_format: EncodeFormat, quality: int) -> bytes:
    """Encode an image.

    Args:
        pixels: ``uint8 (H, W, 3)`` RGB.
        encode_format: to what; jpg with colours at half the resolution, as usual.
        quality: as in `ImageOptions.encode_quality`.

    Returns:
        The file.

    Raises:
        cv2.error: OpenCV cannot.
        ValueError: the same of simplejpeg.
    """
    import numpy as np

    if encode_format == "jpg":
        import simplejpeg

        rows = np.ascontiguousarray(pixels)
        return bytes(simplejpeg.encode_jpeg(rows, quality, "RGB", "420"))
    import cv2

    flag = cv2.IMWRITE_PNG_COMPRESSION if encode_format == "png" else cv2.IMWRITE_WEBP_QUALITY
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    return bytes(cv2.imencode(f".{encode_format}", bgr, [flag, quality])[1].data)
