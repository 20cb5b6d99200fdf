"""The json of one sample: read as Python reads it, written so that every reader takes it."""

import json
from typing import Any


def read_record(content: bytes) -> dict[str, Any] | None:
    """Read a sample's json.

    Args:
        content: its bytes.

    Returns:
        What it says, numbers like NaN too; None where it is no JSON, or no object.

    Raises:
        Nothing.
    """
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def strict_json(record: dict[str, Any]) -> bytes:
    """Write a sample's json.

    Args:
        record: what it says.

    Returns:
        JSON in ASCII; numbers that JSON lacks, which Python reads, are null.

    Raises:
        RecursionError: it is nested too deep.
    """
    try:
        return json.dumps(record, allow_nan=False).encode()
    except ValueError:
        plain = json.loads(json.dumps(record), parse_constant=lambda _: None)
        return json.dumps(plain).encode()
