"""From the words on a command line, or a Python call, to checked configurations: Hydra's part.

Commands and calls:
    app, api                from the command line; from Python
    arguments, hydra_call, hydra_errors     flags and overrides; Hydra itself, and its errors
    conf_files, user_files  where YAML files are looked up; which one an error is about
    pipeline_app, pipeline_api      the same two for pipelines
    unstarted               what a command would start, without its inputs
    pipeline, steps, references, edges      a pipeline's file into steps; who reads whose output
"""
