"""Pictures on their way off a GPU; there is none here, so CUDA's part is a fake."""

from types import SimpleNamespace

import torch

from hpcpipe.models import pictures


def test_pixels_are_waited_for_on_the_gpu_that_draws_them(monkeypatch):
    noted = []

    class Event:
        def __init__(self, blocking):
            assert blocking

        def record(self, stream):
            noted.append(("recorded", stream))

        def synchronize(self):
            noted.append("waited")

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(pictures, "_start_copy", lambda tensor: noted.append("copied"))
    device = torch.device("cuda:1")
    batch = pictures._Batch(SimpleNamespace(device=device), SimpleNamespace(device=device))
    batch.wait()
    assert noted == ["copied", "copied", ("recorded", "stream of cuda:1"), "waited"]
