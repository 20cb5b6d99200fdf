"""Which certificates are trusted: a file of the user's, or those of the system."""

import os
import ssl
from typing import NamedTuple

from hpcpipe.errors import ConfigError, SetupError


class Trust(NamedTuple):
    """Where trusted certificates are; one of the two is "".

    Attributes:
        file: PEM.
        folder: PEM files named by the hash of their subject, as OpenSSL looks them up.
    """

    file: str
    folder: str


def trusted(ca_file: str | None) -> Trust:
    """Find the certificates to trust.

    Args:
        ca_file: PEM; None for the system's, which ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` may name.

    Returns:
        Where they are.

    Raises:
        ConfigError: there is no such file.
        SetupError: the system has none, so that no certificate would be trusted.
    """
    if ca_file is not None:
        if not os.path.isfile(ca_file):
            raise ConfigError(f"ca_file: there is no file {ca_file!r}.")
        return Trust(ca_file, "")
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return Trust(paths.cafile, "")
    if paths.capath and os.listdir(paths.capath):
        return Trust("", paths.capath)
    raise SetupError(
        f"There are no certificates to trust: neither {paths.openssl_cafile} nor files in "
        f"{paths.openssl_capath}. Install your system's ca-certificates, or name a file (PEM) by "
        "ca_file or SSL_CERT_FILE."
    )
