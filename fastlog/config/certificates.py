"""Whether the certificates that the configuration names can be used.

`load` does not open them: a command that only reads the store may run as another user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fastlog.config.tree import Config
from fastlog.config.urls import is_tls
from fastlog.errors import ConfigError


class CertificateFiles(NamedTuple):
    """The files of one server."""

    where: str
    """What has them: `listen tls://0.0.0.0:9021`."""
    certificate: str
    key: str
    client_ca: str = ""
    crl: str = ""

    def remarks(self) -> list[str]:
        """Return warnings of files that have expired, or will soon.

        Raises:
            ConfigError: A file is missing, or wrong.
        """
        from fastlog.certificates import remarks, server_context  # few commands need ssl

        server_context(self.certificate, self.key, self.client_ca, self.crl)
        return remarks(self.certificate, self.client_ca, self.crl)


def certificate_files(config: Config) -> Iterator[CertificateFiles]:
    """Yield the files of each server of the configuration that has a certificate."""
    for listen in config.listen:
        if is_tls(listen.url):
            where = f"listen {listen.url}"
            files = listen.certificate, listen.key, listen.client_ca, listen.crl
            yield CertificateFiles(where, *files)
    if config.web.certificate:
        yield CertificateFiles(f"web {config.web.url}", config.web.certificate, config.web.key)


def certificate_remarks(config: Config) -> list[str]:
    """Return the remarks on all certificates.

    Raises:
        ConfigError: One cannot be used; the text names what has it, and the file.
    """
    found = []
    for files in certificate_files(config):
        try:
            texts = files.remarks()
        except ConfigError as error:
            raise ConfigError(f"{files.where}: {error}") from None
        found += [f"{files.where}: {text}" for text in texts]
    return found
