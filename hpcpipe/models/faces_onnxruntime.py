"""CenterFace on a CPU, by onnxruntime: one image at a time, threads share the network.

Each thread calculates on its own core: images side by side leave no core waiting for another, which
parts of one image do.
"""

from pathlib import Path
from typing import Any

_OUT_OF_MEMORY = "failed to allocate memory"


class OnCpu:
    """A `PeakFinder`, see there.

    Attributes:
        device: ``cpu``.
        takes_batches: False: several images at once leave the processor's caches, and are slower.
    """

    device = "cpu"
    takes_batches = False

    def __init__(self, path: Path, outputs: tuple[str, str, str]) -> None:
        """Load the network.

        Args:
            path: an ONNX file.
            outputs: names of its maps: how sure, how large, where within the cell.

        Raises:
            OSError: it cannot be read.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # what is worth a warning is how the file was written
        options.log_severity_level = 3
        # layouts of the memory would be kept for every size of image, and be no quicker
        options.enable_mem_pattern = False
        self._outputs = outputs
        self._session = onnxruntime.InferenceSession(
            for_any_size(path, outputs), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, padded: Any, min_score: float) -> tuple[Any, Any]:
        """Find peaks; see `PeakFinder`.

        Args:
            padded: ``uint8 (N, H, W, 3)`` RGB.
            min_score: cells that are less sure are left out.

        Returns:
            Their places and values.

        Raises:
            MemoryError: there is no room.
        """
        import numpy as np

        pixels = padded.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        try:
            maps = self._session.run(self._outputs, {self._input: pixels})
        except Exception as error:  # its errors have nothing else in common
            if _OUT_OF_MEMORY in str(error).lower():
                raise MemoryError(str(error)) from error
            raise
        places = np.argwhere(maps[0][:, 0] >= min_score)
        number, row, column = places.T
        return places, np.concatenate(maps, axis=1)[number, :, row, column]


def for_any_size(path: Path, outputs: tuple[str, ...]) -> bytes:
    """Read a network without the sizes that it was written with, and without other outputs.

    Weights are taken out of what a caller may hand in: then onnxruntime puts them into the order
    that the processor works in, and the network takes half the time.

    Args:
        path: an ONNX file of images, ``(N, C, H, W)``, to maps.
        outputs: names of the maps that are wanted.

    Returns:
        The file's content as it would have to be.

    Raises:
        OSError: it cannot be read.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    wanted = [one for one in graph.output if one.name in outputs]
    for value in (*inputs, *wanted):
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    for field, kept in (("input", inputs), ("output", wanted)):
        graph.ClearField(field)
        getattr(graph, field).extend(kept)
    return bytes(model.SerializeToString())
