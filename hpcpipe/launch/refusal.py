"""The words for a submission that sbatch or submitit refused."""

import re

from hpcpipe.config.convert import unknown_key

_UNKNOWN = re.compile(r"Unavailable parameter\(s\): \[(.*?)\]")


REFUSED = "the array was not submitted, nothing of it is queued:"


def refusal(said: str, begin: str = REFUSED, step: str = "") -> str:
    """Word the message for a submission that was refused.

    Args:
        said: what submitit or sbatch said.
        begin: the first line.
        step: the pipeline's step whose options are to be changed; empty for a run of its own.

    Returns:
        The message.

    Raises:
        Nothing.
    """
    where = f"{step}." if step else ""
    unknown = _UNKNOWN.search(said)
    if unknown:
        valid = re.findall(r"- (\w+) \(default", said)
        names = re.findall(r"\w+", unknown[1])
        found = [unknown_key(key, valid, f"{where}launcher.slurm") for key in names]
        return "\n".join([begin, *found])
    lines = [f"  {line.strip()}" for line in said.splitlines() if line.strip()]
    hint = f"see {where}site.* and {where}resources.* (--cfg job shows them)"
    hint += ", and sinfo -o '%P %l %c %m %G' what there is" if step else ""
    hint += "" if step else "; launcher=script writes the file"
    return "\n".join([begin, *lines, hint])
