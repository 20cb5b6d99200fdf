"""Boxes as detectors give them to faces: overlaps taken away, cut to the image, relative."""

from typing import Any

from hpcpipe.formats.selected import Face

MAX_OVERLAP = 0.3
"""Shared area by joint area, from which the less sure of two boxes is the same face."""
MAX_CANDIDATES = 1_000
"""The surest that are looked at in one image."""


def to_faces(corners: Any, scores: Any, width_px: int, height_px: int) -> list[Face]:
    """Make faces of boxes, one for each heap of boxes that overlap.

    Args:
        corners: float ``(N, 4)``: left, top, right, bottom in pixels; may reach over the image.
        scores: float ``(N,)``, 0 to 1.
        width_px: of the image.
        height_px: of the image.

    Returns:
        Faces, the surest first; boxes to five decimals, scores to four.

    Raises:
        Nothing.
    """
    import numpy as np

    # of equal scores the one further up and left, so that the order is always the same
    order = np.lexsort((corners[:, 0], corners[:, 1], -scores))[:MAX_CANDIDATES]
    sides = np.array([width_px, height_px, width_px, height_px], np.float64)
    boxes = np.clip(corners[order] / sides, 0, 1).round(5)
    is_open = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    found = []
    for place, index in enumerate(order):
        if is_open[place]:
            box = boxes[place]
            found.append(Face(box=tuple(box.tolist()), score=round(float(scores[index]), 4)))
            is_open[place + 1 :] &= _overlaps(box, boxes[place + 1 :]) < MAX_OVERLAP
    return found


def _overlaps(box: Any, others: Any) -> Any:
    """Shared by joint area of a box with each of others; 0 where both have none."""
    import numpy as np

    inner = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = inner.clip(0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / np.maximum(areas - shared, 1e-12)
