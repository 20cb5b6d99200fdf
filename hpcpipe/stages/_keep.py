"""The keep list of a reshard, for overlaying and repacking: converted by the plan, then mapped."""

import logging
from typing import TYPE_CHECKING

from hpcpipe.errors import PlanError
from hpcpipe.formats import keep_list
from hpcpipe.formats.keep_list import KeepList
from hpcpipe.stage import PlanContext, WorkerContext

if TYPE_CHECKING:
    from hpcpipe.stages.reshard import Reshard

logger = logging.getLogger(__name__)

_ARTIFACT = "keep.npy"


def convert_keep(stage: "Reshard", ctx: PlanContext) -> None:
    """Convert what ``stage.keep`` lists, where it is given.

    Args:
        stage: the options.
        ctx: the framework's help.

    Raises:
        PlanError: the list is missing, empty or malformed.
        OSError: reading or writing failed.
    """
    if stage.keep is None:
        return
    try:
        built = keep_list.build(stage.keep, stage.keep_field, ctx.artifact(_ARTIFACT))
    except PlanError as error:
        raise PlanError(f"stage.keep: {error}") from error
    logger.info(
        "keep list: %d %ss (%d duplicates)", built.num_ids, built.field, built.num_duplicates
    )


def open_keep(stage: "Reshard", ctx: PlanContext | WorkerContext) -> KeepList | None:
    """Map what `convert_keep` wrote.

    Args:
        stage: the options.
        ctx: the framework's help.

    Returns:
        The list, None where everything is kept.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    return None if stage.keep is None else KeepList.open(ctx.artifact(_ARTIFACT))
