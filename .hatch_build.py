"""Put the configuration and the batch template, which lie beside the package, into the wheel.

An editable install gets no copies: it uses the checkout's.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DataFilesHook(BuildHookInterface[Any]):
    """Adds ``conf/`` and ``sbatch/`` to ``hpcpipe/`` in a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folders to add.

        Args:
            version: ``standard`` or ``editable``.
            build_data: changed in place.

        Raises:
            Nothing.
        """
        if version == "standard":
            build_data["force_include"] |= {"conf": "hpcpipe/conf", "sbatch": "hpcpipe/sbatch"}
