import errno
import socket

import aiohttp
import botocore.exceptions
import pytest
from s3fs.errors import translate_boto_error

from hpcpipe.errors import BadInputError, OutageError, TransientShardError, is_environment_error
from hpcpipe.formats.listing import stat_input
from hpcpipe.formats.remote_errors import outages, remote_errors
from tests.servers.ports import free_ports


def answer(status, code):
    """What s3fs makes of an answer of a store."""
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate_boto_error(botocore.exceptions.ClientError(response, "GetObject"))


DOWN = {
    "no answer": TimeoutError(),
    "no such host": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "refused": botocore.exceptions.EndpointConnectionError(endpoint_url="http://x?sig=secret=1"),
    "slow": botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"),
    "cut off": aiohttp.ServerDisconnectedError(),
    "503": answer(503, "SlowDown"),
    "502 without a code": answer(502, "502"),
    "too many": answer(429, "TooManyRequests"),
    "token": answer(400, "ExpiredToken"),
    "key": answer(403, "InvalidAccessKeyId"),
    "no credentials": botocore.exceptions.NoCredentialsError(),
}


@pytest.mark.parametrize("name", DOWN)
def test_a_store_that_is_down_is_an_outage(name):
    with (
        pytest.raises(OutageError, match=r"^s3://b/a\.tar ") as caught,
        remote_errors("s3://b/a.tar"),
    ):
        raise DOWN[name]
    assert is_environment_error(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(404, "NoSuchKey"), BadInputError),
        (answer(403, "AccessDenied"), BadInputError),
        (answer(416, "InvalidRange"), TransientShardError),
        (ValueError("x"), TransientShardError),
    ],
)
def test_an_object_at_fault_is_none(error, kind):
    with pytest.raises(kind), remote_errors("s3://b/a.tar"):
        raise error
    with pytest.raises(type(error)), outages("s3://b/a.tar"):
        raise error


def test_a_web_server_that_is_gone_is_no_missing_file():
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/a.tar"
    with pytest.raises(OutageError, match=r"a\.tar cannot be reached"):
        stat_input(url)


def test_a_full_disk_stays_what_it_is():
    with pytest.raises(OSError, match="full"), outages("s3://b/a.tar"):
        raise OSError(errno.ENOSPC, "full")
