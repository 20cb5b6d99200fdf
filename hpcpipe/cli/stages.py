"""``hpcpipe stages``: list the stages and pipelines there are, one line each."""

import argparse

from hpcpipe.cli.usage import summaries


def main(argv: list[str]) -> int:
    """Print every stage and pipeline with the first comment line of its YAML.

    Args:
        argv: arguments after the verb.

    Returns:
        Exit code.

    Raises:
        SystemExit: the arguments are wrong, or help was asked for.
    """
    parser = argparse.ArgumentParser(
        prog="hpcpipe stages",
        description="List the stages and pipelines, yours in ./conf included. "
        "hpcpipe stage=NAME --help or pipeline=NAME --help shows the options of one.",
    )
    parser.parse_args(argv)
    stages, pipelines = summaries("stage"), summaries("pipeline")
    width = max((len(name) for name, _ in [*stages, *pipelines]), default=0)
    for name, line in stages:
        print(f"{name:{width}}  {line}".rstrip())
    if pipelines:
        print("\npipelines (pipeline=NAME):")
    for name, line in pipelines:
        print(f"{name:{width}}  {line}".rstrip())
    return 0
