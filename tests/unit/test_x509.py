"""Certificates and revocation lists: the reader of some fields, beside `cryptography`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from certificates import Certificates
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fastlog.x509 import certificate, certificates_of, revocation_lists_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("x509"))


def serial_of(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


def der_of(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def test_the_fields_of_certificates_are_those_that_cryptography_reads(made: Certificates) -> None:
    for path in (made.issue("a"), made.issue("b", expired=True), made.issue("c", days=20), made.ca):
        pem = path.read_bytes()
        found = certificates_of(pem)
        expected = x509.load_pem_x509_certificates(pem)
        assert len(found) == len(expected) >= 1
        for own, other in zip(found, expected, strict=True):
            assert serial_of(own.serial) == other.serial_number
            times = other.not_valid_before_utc, other.not_valid_after_utc
            assert (own.begin, own.end) == times
            assert b"0" + bytes([len(own.issuer)]) + own.issuer == other.issuer.public_bytes()


def test_the_fields_of_revocation_lists_are_those_that_cryptography_reads(
    made: Certificates, tmp_path: Path
) -> None:
    none = made.revoke(file="none.pem").read_bytes()
    revoked = [made.issue(f"r{number}") for number in range(3)]
    some = made.revoke(*revoked, file="some.pem", days=-3).read_bytes()
    found = revocation_lists_of(none + some)
    expected = [x509.load_pem_x509_crl(each) for each in (none, some)]
    assert [each.end for each in found] == [each.next_update_utc for each in expected]
    assert set(found[0].serials()) == set()
    issued = [certificates_of(path.read_bytes())[0] for path in revoked]
    assert set(found[1].serials()) == {each.serial for each in issued}
    assert {each.issuer for each in [*found, *issued]} == {issued[0].issuer}


def test_times_of_both_centuries_are_read(made: Certificates) -> None:
    der = der_of(made.issue("x", days=1))
    own = certificate(der)
    old = f"{own.end:%y%m%d}".encode()
    assert certificate(der.replace(old, b"510101")).end.year == 1951
    assert certificate(der.replace(old, b"490101")).end.year == 2049


def test_damage_is_a_value_error_and_nothing_else(made: Certificates) -> None:
    der = der_of(made.issue("x"))
    with pytest.raises(ValueError, match="missing"):
        certificate(b"")
    chance = random.Random(1)
    for _ in range(2000):
        data = bytearray(der[: chance.choice([len(der), chance.randrange(len(der))])])
        for _ in range(chance.randrange(4)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            certificate(bytes(data))
        except ValueError:
            continue
