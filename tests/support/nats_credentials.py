"""Credentials of NATS, made as its tool `nsc` makes them: keys, JWTs, and files of credentials."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys

_CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


class Key:
    """A key pair of an operator, an account or a user."""

    def __init__(self, kind: int) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), kind).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public = self._pair.public_key.decode()

    def token(self, subject: Key, kind: str, **claims: Any) -> str:
        """Return a JWT of a subject, signed by this key."""
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {
            "jti": os.urandom(16).hex().upper(),
            "iat": int(time.time()),
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        text = b".".join(_base64(json.dumps(part).encode()) for part in (header, body))
        return b".".join((text, _base64(self._pair.sign(text)))).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def user_key() -> Key:
    return Key(nkeys.PREFIX_BYTE_USER)


class Operator:
    """An operator with one account that may use JetStream."""

    def __init__(self) -> None:
        self._key = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = Key(nkeys.PREFIX_BYTE_ACCOUNT)

    def config(self) -> str:
        """Return the part of a server's configuration that trusts this operator."""
        connections = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
        storage = ("mem_storage", "disk_storage", "streams", "consumer")
        limits = {**dict.fromkeys(connections, -1), "wildcards": True}
        system = Key(nkeys.PREFIX_BYTE_ACCOUNT)  # JetStream needs one, and must not be used by it
        accounts = "\n".join(
            f"{each.public}: {self._key.token(each, 'account', limits=allowed)}"
            for each, allowed in (
                (self._account, {**limits, **dict.fromkeys(storage, -1)}),
                (system, limits),
            )
        )
        return f"""
            operator: {self._key.token(self._key, "operator")}
            system_account: {system.public}
            resolver: MEMORY
            resolver_preload: {{
                {accounts}
            }}
        """

    def write_user(self, path: Path) -> str:
        """Write the file of credentials of a new user; return the secret in it."""
        user = user_key()
        rights: dict[str, Any] = {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
        jwt = self._account.token(user, "user", **rights)
        path.write_text(_CREDENTIALS.format(jwt=jwt, seed=user.seed))
        return user.seed
