"""robots.txt, read for one agent; how it is fetched and kept is in ``host_rules``.

Protego does the parsing. It copies every rule for every agent that is named before it, so a file
that names thousands of others is cut down to the agent at hand before.
"""

import re
from typing import Any

_AGENT_LINE = re.compile(
    r"(?:user-?agent|user agent)\s*:(.*)|(?:user-?agent|user\s+agent)\s+([^:]*(?::\S.*)?)",
    re.IGNORECASE | re.DOTALL,
)
"""What Protego takes for the name of an agent, mistakes included."""
_OTHERS = "!others"
"""A name that no agent has."""


def parse_robots(content: bytes, agent: str) -> Any:
    """Read robots.txt.

    Args:
        content: the file.
        agent: whose rules are wanted: letters, ``-`` and ``_``.

    Returns:
        A ``protego.Protego`` that knows the rules for `agent`; None where none can forbid it a
        thing.

    Raises:
        Nothing.
    """
    text = content.decode("utf-8-sig", errors="replace")
    if "allow" not in text.lower():
        return None
    from protego import Protego

    return Protego.parse(_for_one(text, agent.lower()))


def _for_one(text: str, agent: str) -> str:
    """Give all agents but the one whose rules count for `agent` the same name."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    names = {number: name for number, line in enumerate(lines) if (name := _agent_of(line))}
    meant = [name for name in names.values() if name == "*" or agent.startswith(name)]
    closest = max(meant, key=len, default=None)
    for number, name in names.items():
        lines[number] = f"User-agent: {'*' if name == closest else _OTHERS}"
    return "\n".join(lines)


def _agent_of(line: str) -> str | None:
    match = _AGENT_LINE.fullmatch(line)
    name = (match[1] or match[2] or "").strip().lower() if match else ""
    return name if name == "*" else (name.replace("*", "") or _OTHERS) if name else None
