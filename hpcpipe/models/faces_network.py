"""A convolutional network out of an ONNX file, run by torch: CPU or CUDA, any batch, any size.

Knows the few operations that detectors made of convolutions consist of. Normalisations are folded
into the convolutions before them, convolutions of 1 by 1 are matrix products, and everything is
laid out channels last, which together take two fifths of torch's time on a CPU away.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hpcpipe.errors import SetupError


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
    steps: list[_Step] = []
    for node in _needed(graph.node, outputs):
        options = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        inputs = [name for name in node.input if name not in weights]
        given = [weights[name] for name in node.input if name in weights]
        if node.op_type == "BatchNormalization":
            before = steps.pop()
            before.apply.fold(*given, options["epsilon"])  # type: ignore[attr-defined]
            steps.append(before._replace(output=node.output[0]))
            continue
        if node.op_type in ("Conv", "ConvTranspose"):
            apply: Callable[..., Any] = _Convolution(node.op_type, options, *given)
        elif node.op_type in _PLAIN:
            apply = getattr(torch, _PLAIN[node.op_type])
        else:
            raise SetupError(f"{path} has the operation {node.op_type}, which is not known here")
        steps.append(_Step(apply, tuple(inputs), node.output[0]))
    first = graph.input[0].name
    return Network(_freeing(steps, {first, *outputs}), first, outputs)


_PLAIN = {"Relu": "relu", "Add": "add", "Sigmoid": "sigmoid"}


def _needed(nodes: Sequence[Any], outputs: Sequence[str]) -> list[Any]:
    wanted, found = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]


def _freeing(steps: list[_Step], kept: set[str]) -> list[_Step]:
    """Note where each tensor is read last; there, relu writes into it."""
    import torch

    read_later, found = set(kept), []
    for step in reversed(steps):
        done_with = tuple({*step.inputs} - read_later)
        read_later.update(step.inputs)
        apply = torch.relu_ if step.apply is torch.relu and done_with else step.apply
        found.append(step._replace(apply=apply, done_with=done_with))
    return found[::-1]


class _Convolution:
    """One convolution, or one that enlarges."""

    def __init__(self, kind: str, options: dict[str, Any], weight: Any, bias: Any = None) -> None:
        import torch

        self._options = {"stride": options["strides"], "padding": options["pads"][:2]}
        self._options |= {"groups": options["group"], "dilation": options["dilations"]}
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = bias
        self._enlarges = kind == "ConvTranspose"
        self._is_product = (
            not self._enlarges
            and options["kernel_shape"] == options["strides"] == [1, 1]
            and options["group"] == 1
            and not any(options["pads"])
        )

    def fold(self, scale: Any, shift: Any, mean: Any, variance: Any, epsilon: float) -> None:
        """Take over a normalisation of what comes out."""
        scale = scale / (variance + epsilon).sqrt()
        self._weight = self._weight * (
            scale.view(1, -1, 1, 1) if self._enlarges else scale.view(-1, 1, 1, 1)
        )
        self._bias = shift + scale * ((0 if self._bias is None else self._bias) - mean)

    def __call__(self, images: Any) -> Any:
        from torch.nn import functional

        if self._is_product:
            rows = images.permute(0, 2, 3, 1)
            return functional.linear(rows, self._weight[:, :, 0, 0], self._bias).permute(0, 3, 1, 2)
        convolve = functional.conv_transpose2d if self._enlarges else functional.conv2d
        return convolve(images, self._weight, self._bias, **self._options)
