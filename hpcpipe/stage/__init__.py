"""The whole contract a stage author reads: what a stage is, and what it is handed.

A stage is one frozen dataclass whose fields are its typed options, and one YAML file
``conf/stage/NAME.yaml`` that holds their values, their comments and the class's path
(``_target_``). The framework lists, claims, retries, stages and records; a stage says how the
shards are listed (`Stage.plan`) and what is done to one (`Stage.process`). All names are imported
from here: ``from hpcpipe.stage import Shard, Stage``.

    base            `Stage`: the methods a stage has, and what each may raise; begin here
    options         the types of its options: paths, models, what only changes the speed
    plan_contexts   what planning is handed: listing inputs, what the run has already
    work_contexts   what working is handed: outputs, counters, progress; the last step; looking
    records         shards, inputs, results, models; pictures for contact sheets

Nothing here is behaviour of the framework; that is in ``hpcpipe.runtime``.
"""

from hpcpipe.stage.base import Stage
from hpcpipe.stage.options import MODEL, PATH, TUNING, Location, ModelName, TuningInt
from hpcpipe.stage.plan_contexts import PlanContext, RetryContext
from hpcpipe.stage.records import Box, Input, Look, Model, OutputFile, Picture, Shard, ShardResult
from hpcpipe.stage.work_contexts import (
    FinalizeContext,
    LookContext,
    Output,
    ShardContext,
    ShardStopped,
    WorkerContext,
)

__all__ = [
    "MODEL",
    "PATH",
    "TUNING",
    "Box",
    "FinalizeContext",
    "Input",
    "Location",
    "Look",
    "LookContext",
    "Model",
    "ModelName",
    "Output",
    "OutputFile",
    "Picture",
    "PlanContext",
    "RetryContext",
    "Shard",
    "ShardContext",
    "ShardResult",
    "ShardStopped",
    "Stage",
    "TuningInt",
    "WorkerContext",
]
