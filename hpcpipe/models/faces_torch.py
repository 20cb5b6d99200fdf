"""CenterFace on a GPU, by torch: out of its ONNX file, batches of one padded size.

Knows the few operations that detectors made of convolutions consist of. Normalisations and what
makes negative values 0 become parts of the convolutions before them, and everything is laid out
channels last.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpcpipe.errors import SetupError


class OnGpu:
    """A `PeakFinder`, see there.

    Attributes:
        device: the ``torch.device``.
        takes_batches: True.
    """

    takes_batches = True

    def __init__(self, path: Path, outputs: Sequence[str], device: Any) -> None:
        """Load the network.

        Args:
            path: an ONNX file.
            outputs: names of its maps: how sure, how large, where within the cell.
            device: the ``torch.device`` it is to run on.

        Raises:
            SetupError: the file has operations that are not known here.
            OSError: it cannot be read.
        """
        self.device = device
        self._network = read_network(path, outputs, device)

    def __call__(self, padded: Any, min_score: float) -> tuple[Any, Any]:
        """Find peaks; see `PeakFinder`.

        Args:
            padded: ``uint8 (N, H, W, 3)`` RGB.
            min_score: cells that are less sure are left out.

        Returns:
            Their places and values.

        Raises:
            torch.OutOfMemoryError: there is no room.
            RuntimeError: the GPU failed otherwise.
        """
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(padded).to(self.device)
            maps = self._network(pixels.permute(0, 3, 1, 2).float())
            number, row, column = (maps[0][:, 0] >= min_score).nonzero(as_tuple=True)
            values = torch.cat(maps, dim=1)[number, :, row, column]
            places = torch.stack([number, row, column], dim=1)
            return places.cpu().numpy(), values.cpu().numpy()


class _Step(NamedTuple):
    """One operation.

    Attributes:
        apply: from tensors to a tensor.
        inputs: their names.
        output: its name.
        done_with: inputs that nothing reads later.
    """

    apply: Callable[..., Any]
    inputs: tuple[str, ...]
    output: str
    done_with: tuple[str, ...] = ()


class Network:
    """The operations in order."""

    def __init__(self, steps: list[_Step], first: str, outputs: Sequence[str]) -> None:
        """Hold them.

        Args:
            steps: the operations.
            first: name of the network's input.
            outputs: names of what it gives.

        Raises:
            Nothing.
        """
        self._steps = steps
        self._first = first
        self._outputs = outputs

    def __call__(self, images: Any) -> list[Any]:
        """Run it; the caller is in torch's inference mode.

        Args:
            images: ``float32 (N, C, H, W)`` on the network's device, best channels last.

        Returns:
            Its outputs.

        Raises:
            torch.OutOfMemoryError: there is no room.
        """
        known = {self._first: images}
        for step in self._steps:
            inputs = [known[name] for name in step.inputs]
            for name in step.done_with:
                del known[name]
            known[step.output] = step.apply(*inputs)
        return [known[name] for name in self._outputs]


def read_network(path: Path, outputs: Sequence[str], device: Any) -> Network:
    """Read a network.

    Args:
        path: an ONNX file; its first input is the images.
        outputs: names of what is wanted; what others need is left out.
        device: the torch.device it is to run on.

    Returns:
        The network.

    Raises:
        SetupError: the file has operations that are not known here.
        OSError: it cannot be read.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    weights = {
        one.name: torch.from_numpy(numpy_helper.to_array(one).copy()).to(device)
        for one in graph.initializer
    }
    nodes = _needed(graph.node, outputs)
    num_uses = Counter(name for node in nodes for name in node.input)
    steps: list[_Step] = []
    for node in nodes:
        options = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        inputs = tuple(name for name in node.input if name not in weights)
        given = [weights[name] for name in node.input if name in weights]
        before = steps[-1] if steps and steps[-1].output in inputs else None
        if node.op_type in ("Conv", "ConvTranspose"):
            apply: Callable[..., Any] = _Convolution(node.op_type, options, *given)
        elif node.op_type in _PLAIN:
            apply = getattr(torch, _PLAIN[node.op_type])
        elif (
            before is not None
            and isinstance(before.apply, _Convolution)
            and num_uses[before.output] == 1
            and node.op_type in ("BatchNormalization", "Relu")
        ):
            before.apply.follow(node.op_type, options, given)
            steps[-1] = before._replace(output=node.output[0])
            continue
        else:
            raise SetupError(f"{path} has the operation {node.op_type}, which is not known here")
        steps.append(_Step(apply, inputs, node.output[0]))
    first = graph.input[0].name
    return Network(_freeing(steps, {first, *outputs}), first, outputs)


_PLAIN = {"Add": "add", "Sigmoid": "sigmoid"}


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    wanted, found = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]


def _freeing(steps: list[_Step], kept: set[str]) -> list[_Step]:
    """Note where each tensor is read last."""
    read_later, found = set(kept), []
    for step in reversed(steps):
        found.append(step._replace(done_with=tuple({*step.inputs} - read_later)))
        read_later.update(step.inputs)
    return found[::-1]


class _Convolution:
    """One convolution, or one that enlarges, and what follows it."""

    def __init__(self, kind: str, options: dict[str, Any], weight: Any, bias: Any = None) -> None:
        import torch

        self._stride, self._dilation = options["strides"], options["dilations"]
        self._padding, self._groups = options["pads"][:2], options["group"]
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = bias
        self._enlarges = kind == "ConvTranspose"
        self._relu = False

    def follow(self, kind: str, options: dict[str, Any], given: list[Any]) -> None:
        """Take over a normalisation of what comes out, or that it is not negative."""
        if kind == "Relu":
            self._relu = True
            return
        scale, shift, mean, variance = given
        scale = scale / (variance + options["epsilon"]).sqrt()
        shape = (1, -1, 1, 1) if self._enlarges else (-1, 1, 1, 1)
        self._weight = self._weight * scale.view(shape)
        self._bias = shift + scale * ((0 if self._bias is None else self._bias) - mean)

    def __call__(self, images: Any) -> Any:
        from torch.nn import functional

        convolve = functional.conv_transpose2d if self._enlarges else functional.conv2d
        made = convolve(
            images,
            self._weight,
            self._bias,
            stride=self._stride,
            padding=self._padding,
            dilation=self._dilation,
            groups=self._groups,
        )
        return made.relu_() if self._relu else made
