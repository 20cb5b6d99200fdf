"""Faces as a sample's json names them: the field ``face_bboxes`` of DataComp.

Each box is left, top, right, bottom as parts of the image's width and height. Detectors let faces
at an edge reach a little over it; what reaches further than the image is large is no such box, but
one in pixels.
"""

from typing import Any

from hpcpipe.formats.selected import Face
from hpcpipe.stages._filter_faces_sample import FAILED, Candidate, LeftOut

FIELD = "face_bboxes"
NO_BOXES, BAD_BOXES = f"no_{FIELD}", f"bad_{FIELD}"
"""Reasons why a sample cannot be judged."""


def named_faces(sample: Candidate) -> tuple[Face, ...] | LeftOut:
    """Read the faces that a sample's json names.

    Args:
        sample: the sample.

    Returns:
        The faces, boxes cut to the image, in their order; or why there is nothing to go by.

    Raises:
        Nothing.
    """
    boxes = sample.json.get(FIELD) if sample.json is not None else None
    if boxes is None:
        message = "it has no json" if sample.json is None else f"its json has no {FIELD}"
        return LeftOut(sample.key, FAILED, NO_BOXES, message)
    faces = []
    try:
        if not isinstance(boxes, list):
            raise ValueError(f"a list of boxes is expected, not {type(boxes).__name__}")
        faces = [Face(box=_box(one), score=None) for one in boxes]
    except ValueError as error:
        return LeftOut(sample.key, FAILED, BAD_BOXES, str(error))
    return tuple(faces)


def _box(numbers: Any) -> tuple[float, float, float, float]:
    shown = repr(numbers)[:200]
    if not isinstance(numbers, list) or len(numbers) != 4:
        raise ValueError(f"a box has four numbers, and this is {shown}")
    # booleans are int to Python, and no numbers to JSON
    if any(type(side) not in (int, float) for side in numbers):
        raise ValueError(f"a box has four numbers, and this is {shown}")
    if not all(-1 <= side <= 2 for side in numbers):  # NaN is not, either
        raise ValueError(f"boxes are parts of width and height, 0 to 1, and this is {shown}")
    left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in numbers)
    if not (left < right and top < bottom):
        raise ValueError(f"a box is left, top, right, bottom, and this one is empty: {shown}")
    return left, top, right, bottom
