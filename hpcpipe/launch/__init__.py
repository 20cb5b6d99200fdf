"""Starting workers: here, on this machine, as a SLURM array, in Spark, or by a script to hand over.

A run:
    start, pending          from a config to started workers, and what the user is told
    compact                 sparing workers the reading of long journals
    prepare, place          finding the run that a command means, or making it
    models                  are the models there that workers load
    space, quota            is there room for what it will write
    here, local, slurm, script, spark       one file a way of starting workers
    spark_session, spark_task       Spark's session; what runs in one of its tasks

SLURM:
    parameters, arrays      what sbatch is told; how many arrays of which sizes
    squeue, not_started     what the queue says; workers that never began
    queue_watch, refusal    waiting for jobs, and why they wait; what sbatch does not take
    exclude                 nodes that are left out
    lock                    one submission at a time
    task, job               what runs in a worker's process; the job it is, and its requeue

Pipelines:
    pipeline, pipeline_slurm        all steps in turn here, or all at once on SLURM
    trial                           could the jobs of every step ever run
    step_jobs, step_task            a step's plan job and array; what runs in them
"""
