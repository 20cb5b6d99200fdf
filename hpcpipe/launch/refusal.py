"""The words for a submission that sbatch or submitit refused."""

import re

from hpcpipe.config.convert import unknown_key

_UNKNOWN = re.compile(r"Unavailable parameter\(s\): \[(.*?)\]")


def refusal(error: Exception) -> str:
    """Word the message for a submission that was refused.

    Args:
        error: submitit's, with sbatch's words.

    Returns:
        The message.

    Raises:
        Nothing.
    """
    begin = "the array was not submitted, nothing of it is queued:"
    unknown = _UNKNOWN.search(str(error))
    if unknown:
        valid = re.findall(r"- (\w+) \(default", str(error))
        names = re.findall(r"\w+", unknown[1])
        return "\n".join([begin, *(unknown_key(key, valid, "launcher.slurm") for key in names)])
    said = [f"  {line.strip()}" for line in str(error).splitlines() if line.strip()]
    hint = "see site.* and resources.* (--cfg job shows them); launcher=script writes the file"
    return "\n".join([begin, *said, hint])
