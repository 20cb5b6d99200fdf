"""The command line: verbs and help by the standard library, the rest by Hydra in ``compose``.

Imports nothing heavy at module level; ``--help`` has to answer at once.
"""

import importlib
import importlib.util
import os
import sys
import traceback

VERBS = {
    "status": "how far runs are: counts, rate, failures and the logs to open",
    "logs": "print the log of a worker or of a shard",
    "retry": "make failed shards pending again",
    "verify": "check every recorded output: there, right size, right content",
    "cancel": "stop a run's workers, at once or after the shards at hand",
    "wandb": "log a run to Weights & Biases as its shards are done",
    "contact-sheet": "look at random samples of what a run or pipeline has made",
    "work": "be one worker of a run (for plain sbatch)",
    "clean": "remove temporary files, old logs and pickles of a run",
    "fetch-models": "download the models of a stage or pipeline, for workers without internet",
    "stages": "list the stages and pipelines, one line each",
}
"""Verb -> its line in ``--help``; each is ``main(argv)`` of ``hpcpipe.cli.VERB``, _ for -."""

EXIT_BUG = 1
_INSTALLED = "msgspec"  # any of the modules that come with every installation
EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None means those of this process.

    Returns:
        Exit code: 0 done, 2 configuration, 3 shards quarantined, 4 incomplete, 130 interrupted.

    Raises:
        Nothing; errors are printed. With HPCPIPE_DEBUG=1 their tracebacks are printed too.
    """
    args = sys.argv[1:] if argv is None else argv
    from hpcpipe.errors import HpcPipeError, OutageError, is_environment_error

    try:
        return _dispatch(args)
    except HpcPipeError as err:
        return _report(str(err), err.exit_code)
    except KeyboardInterrupt:
        return _report("interrupted; the same command resumes", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output is gone; without this the interpreter complains once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as err:
        is_outage = is_environment_error(err)
        again = "; nothing is lost, the same command goes on once that is mended" * is_outage
        exit_code = OutageError.exit_code if is_outage else HpcPipeError.exit_code
        return _report(f"{err}{again} (HPCPIPE_DEBUG=1 shows where)", exit_code)
    except Exception as err:
        if isinstance(err, ModuleNotFoundError) and importlib.util.find_spec(_INSTALLED) is None:
            return _report(_not_installed(err), HpcPipeError.exit_code)
        traceback.print_exc()
        return _report("this is a bug in hpcpipe; please report it with the lines above", EXIT_BUG)


def _dispatch(args: list[str]) -> int:
    if not args:
        from hpcpipe.cli import usage

        sys.stderr.write(usage.general(VERBS))
        return 2
    if args[0] in VERBS:
        verb = importlib.import_module(f"hpcpipe.cli.{args[0].replace('-', '_')}")
        return int(verb.main(args[1:]))
    if any(arg in ("-h", "--help") for arg in args):
        from hpcpipe.cli import usage

        sys.stdout.write(usage.for_arguments(args, VERBS))
        return 0
    if "--version" in args:
        import hpcpipe

        sys.stdout.write(f"hpcpipe {hpcpipe.__version__}\n")
        return 0
    from hpcpipe.compose.app import main as compose_and_start

    return compose_and_start(args, VERBS)


def _not_installed(error: ModuleNotFoundError) -> str:
    """Message for a Python that finds hpcpipe in the current folder only, as in a clone."""
    return (
        f"{sys.executable} lacks {error.name}, which hpcpipe needs: use the Python that hpcpipe is "
        "installed for (in a clone, after make demo or make venv: source .venv/bin/activate), or "
        "install it for this one"
    )


def _report(message: str, exit_code: int) -> int:
    if os.environ.get("HPCPIPE_DEBUG") == "1" and exit_code != EXIT_BUG:
        traceback.print_exc()
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    label = "\033[31merror:\033[0m" if is_coloured else "error:"
    from hpcpipe.console import visible

    sys.stderr.write(f"{label} {visible(message)}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
