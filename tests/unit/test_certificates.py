"""Certificates: what is wrong with the files of a server, and the name of a peer."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from certificates import Certificates

from fastlog.certificates import MAX_IDENTITY, identity, read_ends, remarks, server_context
from fastlog.errors import ConfigError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.issue("server")
    made.issue("other")
    made.issue("expired", expired=True)
    return made


def fault(*files: object) -> str:
    with pytest.raises(ConfigError) as caught:
        server_context(*map(str, files))
    return str(caught.value)


def test_what_is_wrong_with_a_file_is_one_line(made: Certificates, tmp_path: Path) -> None:
    server, other, text = made.home / "server.pem", made.home / "other.pem", tmp_path / "text"
    text.write_text("hello")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert fault(tmp_path / "none") == f"certificate {tmp_path}/none: No such file or directory"
    assert fault(tmp_path) == f"certificate {tmp_path}: Is a directory"
    assert fault(text) == f"certificate {text}: it has no PEM block '-----BEGIN CERTIFICATE-----'"
    assert fault(made.ca) == f"key {made.ca}: it has no PEM block '-----BEGIN PRIVATE KEY-----'"
    assert fault(server, other) == f"the key {other} does not belong to the certificate {server}"
    assert fault(broken, server).startswith(f"certificate {broken} or key {server}: ")
    assert fault(server, "", text).startswith(f"client_ca {text}: it has no PEM block")
    assert fault(server, "", broken).startswith(f"client_ca {broken}: ")


def test_an_encrypted_key_asks_for_no_password(made: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    command = ["openssl", "pkey", "-in", made.home / "server.pem", "-aes256", "-passout", "pass:x"]
    subprocess.run([*command, "-out", key], check=True, capture_output=True)
    assert fault(made.home / "server.pem", key).startswith("the key is encrypted")


def test_the_ends_of_files_are_remarked(made: Certificates) -> None:
    server, expired, authority = (
        str(made.home / name) for name in ("server.pem", "expired.pem", "ca.pem")
    )
    lists = str(made.revoke())
    assert remarks(server, authority, lists) == []
    [text] = remarks(expired)
    assert text == f"certificate {expired} has expired: clients that verify it reject it"
    soon = remarks(server, authority, now=datetime(2999, 12, 20, tzinfo=UTC))
    assert soon == [
        f"certificate {server} expires at 3000-01-01 00:00 UTC",
        f"client_ca {authority}: an authority expires at 3000-01-01 00:00 UTC",
    ]
    [_, late] = remarks(server, authority, now=datetime(3000, 1, 2, tzinfo=UTC))
    assert late.endswith("an authority expired at 3000-01-01 00:00 UTC: its clients are rejected")
    [early] = remarks(server, now=datetime(1999, 1, 1, tzinfo=UTC))
    assert early.startswith(f"certificate {server} is not valid yet")
    old = made.revoke(file="old.pem", days=-2)
    [text] = remarks(server, authority, str(old))
    assert text.startswith(f"crl {old} expired at ")
    assert "all clients of its authority are rejected" in text


def test_the_end_of_a_file_is_the_first_end_of_what_it_has(
    made: Certificates, tmp_path: Path
) -> None:
    chain = tmp_path / "chain.pem"
    soon = made.issue("soon", days=3)
    chain.write_bytes((made.home / "server.pem").read_bytes() + soon.read_bytes())
    assert read_ends(str(chain)) == read_ends(str(soon))
    both = tmp_path / "both.pem"
    lists = made.revoke(file="first.pem", days=5), made.revoke(file="second.pem", days=2)
    both.write_bytes(b"".join(each.read_bytes() for each in lists))
    found = read_ends(str(chain), str(made.ca), str(both))
    assert found.crl == read_ends(str(chain), "", str(lists[1])).crl


def test_what_is_wrong_with_a_revocation_list_is_one_line(
    made: Certificates, tmp_path: Path
) -> None:
    server, broken = made.home / "server.pem", tmp_path / "broken"
    missing = f"crl {server}: it has no PEM block '-----BEGIN X509 CRL-----'"
    assert fault(server, "", made.ca, server) == missing
    broken.write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    assert fault(server, "", made.ca, broken).startswith(f"crl {broken}: ")


def subject(*names: tuple[str, str], alternatives: Any = ()) -> dict[str, Any]:
    return {"subject": tuple((name,) for name in names), "subjectAltName": tuple(alternatives)}


def test_the_identity_is_the_common_name_or_an_alternative_one() -> None:
    others = (("DNS", "a.example"), ("URI", "spiffe://a/b"))
    assert identity(subject(("organizationName", "O"), ("commonName", "payments"))) == "payments"
    assert identity(subject(("commonName", "a b"), alternatives=others)) == "a b"
    assert identity(subject(("organizationName", "O"), alternatives=others)) == "spiffe://a/b"
    assert identity(subject(("commonName", " "), alternatives=others[:1])) == "a.example"
    assert identity(subject(("organizationName", "O"))) == identity({}) == ""


def test_spaces_around_a_name_make_another_one() -> None:
    assert identity(subject(("commonName", "  payments "))) == r"\x20\x20payments\x20"
    assert identity(subject(("commonName", "payments\u3000"))) == r"payments\u3000"


def test_an_identity_is_printable_and_short_and_distinct() -> None:
    assert identity(subject(("commonName", "a\0b\nc\x1b[1m"))) == r"a\x00b\nc\x1b[1m"
    long = [identity(subject(("commonName", "ä" * 500 + end))) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= MAX_IDENTITY for name in long)
