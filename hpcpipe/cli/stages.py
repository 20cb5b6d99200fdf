"""``hpcpipe stages``: list the stages there are, one line each."""

import argparse

from hpcpipe.compose import conf_files


def main(argv: list[str]) -> int:
    """Print every stage with the first comment line of its YAML.

    Args:
        argv: arguments after the verb.

    Returns:
        Exit code.

    Raises:
        SystemExit: the arguments are wrong, or help was asked for.
    """
    parser = argparse.ArgumentParser(
        prog="hpcpipe stages",
        description="List the stages, yours in ./conf/stage included. "
        "hpcpipe stage=NAME --help shows the options of one.",
    )
    parser.parse_args(argv)
    files = conf_files.group_files("stage")
    width = max((len(name) for name in files), default=0)
    for name, file in files.items():
        print(f"{name:{width}}  {conf_files.summary(conf_files.read_text(file))}".rstrip())
    return 0
