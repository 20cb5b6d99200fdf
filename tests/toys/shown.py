"""A toy stage whose finished shards can be looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcpipe.errors import BadInputError
from hpcpipe.stage import Box, Look, LookContext, Picture, Shard
from tests.toys.toy import Toy

NUM_SAMPLES = 20
HOSTILE = "</p><script>alert('x')</script> \x1b[31m\ud800 שלום 👩‍🚀 &amp; " + "long " * 20_000


@dataclass(frozen=True, kw_only=True)
class Shown(Toy):
    """Shows the photo that `word` names; a shard ``torn`` cannot be shown."""

    def look(self, shard: Shard, ctx: LookContext, num_samples: int) -> Iterator[Look]:
        if shard.id == "torn":
            raise BadInputError("torn.out is torn")
        photo = Path(self.word).read_bytes()
        text = Path(ctx.output_path(f"{shard.id}.out")).read_text()
        for number in sorted(ctx.random.sample(range(NUM_SAMPLES), min(num_samples, NUM_SAMPLES))):
            box = Box((0.1, 0.2, 0.6, 1.5), "0.98 <b>")
            pictures = (
                Picture("original", photo, boxes=(box,)),
                Picture(
                    "made", photo[: len(photo) // 2] if number % 2 else None, missing="it is <gone>"
                ),
            )
            facts = {"seed": number, "group": None, "model": "org/<model>"}
            texts = (("caption", HOSTILE), ("prompt", text[-80:]))
            yield Look(f"{shard.id}-{number}", pictures, texts, facts)
