"""Rewriting captions over several servers: what the stage gets of what they can do.

Simulated servers: each computes so many answers at once, in a fixed time each. A bare loop of
aiohttp measures each alone; then the stage is run over all, with real contexts in this process.

    python benchmarks/llm.py [equal] [different] [short] [bad] [endless] [real]

equal, different: servers of equal speed, and of different ones: the stage's answers per second by
the sum of what the bare loops get.
short: different servers and shards of 20, 100 and 1,000 captions, by one worker and by several.
bad: of 10,000 captions a hundredth is never answered: the others' answers per second by those of a
run without any, and how long the last ones take.
endless: the same of 2,000, where each of them also keeps its server busy until it is given up.
real: SmolLM2 by llama.cpp, bare and through the stage.
"""

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp

from tests.servers.llm_process import llm_server
from tests.stages.drive import Drive
from tests.stages.rewriting import stage, write_captions

SLOTS = 8
IN_FLIGHT = SLOTS + 2
EQUAL_S, DIFFERENT_S = (0.2, 0.2, 0.2, 0.2), (0.1, 0.2, 0.4, 0.8)
SHORT = ((20, 32), (100, 16), (1000, 4))
TIMEOUT_S = 10
SETTINGS = {
    "api": "openai",
    "options": {},
    "servers__max_in_flight": IN_FLIGHT,
    "min_language_score": 0.0,  # the filter is part of it, its judgement is not
}


def bare(url: str, num: int, in_flight: int, limit: int = 1000) -> float:
    """Answers per second of one server, asked by nothing but a loop."""

    async def run() -> float:
        left = iter(range(num))
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), raise_for_status=True
        ) as session:

            async def work() -> None:
                for number in left:
                    text = f'sentence: "a photo of nurse {number}" group:"black female"'
                    body = {
                        "model": "m",
                        "messages": [{"role": "user", "content": text}],
                        "max_tokens": limit,
                        "seed": number,
                    }
                    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                        await answer.read()

            began = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(in_flight)))
            return num / (time.perf_counter() - began)

    return asyncio.run(run())


class Measured:
    """One run of the stage over one file of captions.

    Attributes:
        rate: answers per second, until the last of those that are not given up.
        tail_s: from then on, until the shard is done.
        cpu_ms: processor time an answer, in this process.
    """

    def __init__(self, urls: Sequence[str], captions: dict[str, str], **changes: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_captions(folder, captions)
            run = Drive(stage(folder, urls, **{**SETTINGS, **changes}), folder)
            (shard,) = run.plan()
            run.state = run.stage.setup(run.setup_context())
            answered_at = []
            add = run.state.watch.add

            def note(failure: str | None) -> None:
                add(failure)
                if failure != "timeout":
                    answered_at.append(time.perf_counter())

            run.state.watch.add = note
            began, cpu_began = time.perf_counter(), time.process_time()
            run.process(shard)
            ended = time.perf_counter()
            run.exit_stack.close()
        assert len(answered_at) == sum(not key.startswith("bad") for key in captions)
        self.cpu_ms = 1000 * (time.process_time() - cpu_began) / len(captions)
        self.rate = len(answered_at) / (answered_at[-1] - began)
        self.tail_s = ended - answered_at[-1]


def captions(num: int, word: str | None = None) -> dict[str, str]:
    """Captions; where there is a word, every hundredth has it, and a key that begins with bad."""
    return {
        f"bad{number}" if word and number % 100 == 0 else f"k{number}": (
            f"a photo of a {word} nurse"
            if word and number % 100 == 0
            else f"a photo of nurse {number}"
        )
        for number in range(num)
    }


def show(name: str, **figures: float) -> None:
    """Print one line."""
    print(json.dumps({"what": name, **{key: round(one, 3) for key, one in figures.items()}}))


@contextlib.contextmanager
def simulated(seconds: Sequence[float]):
    """Simulated servers, one for each service time."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(llm_server("llm_simulated", "--slots", SLOTS, "--seconds", one))
            for one in seconds
        ]


def against_bare_loops(name: str, seconds: Sequence[float], num: int) -> None:
    """The stage's rate by the sum of the servers' own."""
    with simulated(seconds) as urls:
        alone = sum_of_bare(urls, seconds)
        got = Measured(urls, captions(num))
    show(name, sum_of_bare=alone, stage=got.rate, ratio=got.rate / alone, cpu_ms=got.cpu_ms)


def sum_of_bare(urls: Sequence[str], seconds: Sequence[float]) -> float:
    """Answers per second of all servers, each asked alone."""
    pairs = zip(urls, seconds, strict=True)
    return sum(bare(url, int(5 * SLOTS / one), IN_FLIGHT) for url, one in pairs)


def short_shards(seconds: Sequence[float], nums_workers: Sequence[int]) -> None:
    """The stage's rate over many shards, from the first caption to the last shard's end."""
    with simulated(seconds) as urls:
        alone = sum_of_bare(urls, seconds)
        for size, num_shards in SHORT:
            for num in nums_workers:
                rate = rate_of_workers(urls, num, num_shards, size)
                show(f"shards of {size}, workers: {num}", stage=rate, ratio=rate / alone)


def rate_of_workers(urls: Sequence[str], num: int, num_shards: int, size: int) -> float:
    """Answers per second of so many workers, threads here, which share the shards."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_shards):
            write_captions(folder, captions(size), f"{number:05}")
        plan = stage(folder, urls, **SETTINGS)
        workers = [Drive(plan, Path(folder, f"worker{number}")) for number in range(num)]
        for one in workers:
            one.state = one.stage.setup(one.setup_context())
        shards = workers[0].plan()

        def work(number: int) -> None:
            for shard in shards[number::num]:
                workers[number].process(shard)

        began = time.perf_counter()
        with ThreadPoolExecutor(num) as pool:
            list(pool.map(work, range(num)))
        seconds = time.perf_counter() - began
        for one in workers:
            assert one.stats()["samples"] == size * len(one.results)
            one.exit_stack.close()
    return num_shards * size / seconds


def with_bad_captions(num: int, words: Sequence[str]) -> None:
    """What a hundredth of captions that are never answered cost the others."""
    with simulated(EQUAL_S) as urls:
        plain = Measured(urls, captions(num), servers__timeout_s=TIMEOUT_S)
        show("without", stage=plain.rate, tail_s=plain.tail_s)
        for word in words:
            got = Measured(urls, captions(num, word), servers__timeout_s=TIMEOUT_S)
            show(word, stage=got.rate, ratio=got.rate / plain.rate, tail_s=got.tail_s)


def real(num: int = 60, max_tokens: int = 16) -> None:
    """SmolLM2, answers of so many tokens, one try each."""
    options = {"max_tokens": max_tokens}
    with llm_server("llm_llama") as url:
        alone = bare(url, num, 4, max_tokens)
        got = Measured(
            [url], captions(num), options=options, attempts=1,
            servers__max_in_flight=4, servers__timeout_s=60,
        )  # fmt: skip
    show("llama.cpp", bare=alone, stage=got.rate, ratio=got.rate / alone)


WHAT = {
    "equal": lambda: against_bare_loops("equal servers", EQUAL_S, 3000),
    "different": lambda: against_bare_loops("different servers", DIFFERENT_S, 3000),
    "short": lambda: short_shards(DIFFERENT_S, (1, 4)),
    "bad": lambda: with_bad_captions(10_000, ("HANG",)),
    "endless": lambda: with_bad_captions(2_000, ("ENDLESS",)),
    "real": real,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*WHAT, []], help="all, where none is named")
    for what in parser.parse_args().what or WHAT:
        WHAT[what]()
