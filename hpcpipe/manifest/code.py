"""What code a launch ran, as its record says; how that is found out is in ``runtime/code.py``."""

import msgspec


class Code(msgspec.Struct, frozen=True, omit_defaults=True):
    """The code that a launch started its workers with; empty where nothing is known.

    Attributes:
        version: hpcpipe's version.
        commit: git commit that hpcpipe ran from, with ``-dirty`` where files were changed.
        stage_file: source file of the stage's module.
        stage_hash: 16 hex digits of that file's SHA-256.
        stage_commit: git commit of the repository that file is in, where it is not hpcpipe's.
        import_path: folder the module was imported from, unless it is an installed package.
        models: commit of each model of the Hub that the stage loads.
    """

    version: str = ""
    commit: str = ""
    stage_file: str = ""
    stage_hash: str = ""
    stage_commit: str = ""
    import_path: str = ""
    models: dict[str, str] = {}
