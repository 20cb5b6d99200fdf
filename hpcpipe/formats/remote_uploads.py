"""Uploads in parts that were begun at an S3-compatible store and never finished.

They are in no listing of the bucket, and are paid for until somebody aborts them.
"""

from typing import NamedTuple

from hpcpipe.formats.remote import filesystem
from hpcpipe.formats.remote_errors import remote_errors


class Upload(NamedTuple):
    """An upload that was begun.

    Attributes:
        url: what it was to become.
        upload_id: the store's name for it.
        began_at: Unix time in seconds by the store's clock.
    """

    url: str
    upload_id: str
    began_at: float


def begun_uploads(folder: str) -> list[Upload]:
    """List uploads that were begun below a folder and not finished.

    Args:
        folder: URL.

    Returns:
        The uploads, a thousand at most; none for stores that have no such thing.

    Raises:
        BadInputError: the bucket does not exist or may not be listed.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
    """
    fs, key = filesystem(folder)
    if not hasattr(fs, "call_s3"):
        return []
    bucket, _, prefix = key.partition("/")
    with remote_errors(folder):
        answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/")
    scheme = folder.partition("://")[0]
    return [
        Upload(
            f"{scheme}://{bucket}/{item['Key']}", item["UploadId"], item["Initiated"].timestamp()
        )
        for item in answer.get("Uploads", [])
    ]


def abort_upload(upload: Upload) -> None:
    """Give up an upload, so that the store forgets its parts.

    Args:
        upload: which.

    Returns:
        Nothing.

    Raises:
        BadInputError: it is gone already, or may not be aborted.
        OutageError: a remote store is down.
        TransientShardError: it failed otherwise.
    """
    fs, key = filesystem(upload.url)
    bucket, _, name = key.partition("/")
    with remote_errors(upload.url):
        fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=name, UploadId=upload.upload_id)
