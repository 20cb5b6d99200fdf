"""A toy stage that says which GPUs it was given."""

import os
from dataclasses import dataclass

from hpcpipe.stage import WorkerContext
from tests.toys.toy import Toy

SEEN_AT_IMPORT = os.environ.get("CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, kw_only=True)
class Placed(Toy):
    """Writes the device, and what is visible, in the place of the word."""

    def setup(self, ctx: WorkerContext) -> str:
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == SEEN_AT_IMPORT
        return f"{ctx.device} {SEEN_AT_IMPORT}"
