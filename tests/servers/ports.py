"""Ports for servers that cannot choose their own."""

import random
import socket

PORT_RANGE = (20_000, 30_000)
"""Below the range the kernel hands out, so that nobody takes a port between choice and use."""


def free_ports(num_ports: int) -> list[int]:
    """Choose ports on loopback that nobody listens on.

    Raises:
        OSError: there are not so many.
    """
    ports: list[int] = []
    for port in random.sample(range(*PORT_RANGE), 1000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
        if len(ports) == num_ports:
            return ports
    raise OSError(f"found no {num_ports} free ports in {PORT_RANGE[0]}-{PORT_RANGE[1]}")
