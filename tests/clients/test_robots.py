import random
import tracemalloc

import pytest
from protego import Protego

from hpcpipe.clients.robots import parse_robots

PIECES = [
    *(
        "User-agent: *",
        "User-agent: hpcpipe",
        "USERAGENT:hpc*",
        "user agent hpcpipe",
        "user-agent:",
    ),
    *(
        "User  agent h",
        "User  agent: hpcpipe",
        "User-agent: other",
        "User-agent a:1",
        "User-agent:**",
    ),
    *("User-agent hpcpipe: x", "User-agent: pipe", "  user-agent : HPCPIPE # us", "User-agent\thp"),
    *(
        "Disallow: /a",
        "Disallow: /b*c",
        "Allow: /a/b",
        "Disallow:",
        "Allow: /",
        "Sitemap: /x",
        "what",
    ),
]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_allowed_is_what_the_whole_file_allows(seed):
    pick = random.Random(seed)
    for _ in range(200):
        text = "\n".join(pick.choices(PIECES, k=pick.randint(1, 12)))
        ours, whole = parse_robots(text.encode(), "hpcpipe"), Protego.parse(text)
        for path in ("/a", "/a/b", "/bc", "/d"):
            url = f"https://example.org{path}"
            is_allowed = ours is None or ours.can_fetch(url, "hpcpipe")
            assert is_allowed == whole.can_fetch(url, "hpcpipe"), text


def test_thousands_of_agents_with_thousands_of_rules_take_the_memory_of_one():
    agents = "".join(f"User-agent: a{n}\nUser-agent: h{'*' * n}\n" for n in range(500))
    rules = "".join(f"Disallow: /{n}\n" for n in range(1000))
    tracemalloc.start()
    found = parse_robots((agents + rules).encode(), "hpcpipe")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.can_fetch("https://example.org/7", "hpcpipe")
    assert peak_bytes < 10 << 20
