"""The types that say what an option of a stage is, beyond its being a text or a number."""

from typing import Annotated

PATH = "hpcpipe:path"
MODEL = "hpcpipe:model"
TUNING = "hpcpipe:tuning"

Location = Annotated[str, PATH]
"""An option that is a path, a glob or an fsspec URL; relative paths are made absolute."""

ModelName = Annotated[str, MODEL]
"""An option that names a model: ``org/name`` on the Hugging Face Hub, or a folder.

A folder begins with ``/``, ``./``, ``../`` or ``~``, and is made absolute; nothing else is looked
up on the disk, so the same words mean the same model in any folder.
"""

TuningInt = Annotated[int, TUNING]
"""An option that changes speed and never the result: it stays out of the fingerprint."""
