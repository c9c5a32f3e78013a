"""`python deploy/prepare.py FOLDER` makes every secret of an installation that runs in containers, once.

FOLDER gets what processes read, one file per reader: `<service>.toml` (key and database URL) and `<user>.nk` (its seed
for NATS). FOLDER/servers gets what the servers are told: `accounts.conf` for NATS (public keys and permissions),
`roles.sql` and `postgres_password` for Postgres. compose.yaml reads both; for Kubernetes make a Secret of the files of
the first: `kubectl create secret generic longshore --from-file=FOLDER`.
What exists is kept: a second run changes no secret, and adds what a newer version needs.
"""
# ruff: noqa: INP001 - a script beside what it prepares, not a package

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import nkeys

from libs.supervisor.folder import write_durably
from libs.supervisor.nats import user_block
from proto import SERVICES
from proto.topology import USERS

CLOSED = (
    "revoke all on schema public from public;\n"
    "do $$ begin execute format('revoke all on database %I from public', current_database()); end $$;\n"
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--database", default="postgres:5432/longshore", help="host:port/name[?sslmode=...] of Postgres"
    )
    options = parser.parse_args(arguments)
    prepare(options.folder, options.database)
    sys.stdout.write(f"The administrator's first password is in {options.folder / 'auth.toml'}.\n")
    return 0


def prepare(folder: Path, database: str) -> None:
    (folder / "servers").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = _Made(folder)
    key = made.secret("secret_key", 48)
    passwords = {service: made.secret(f"database_password.{service}", 24) for service in SERVICES}
    urls = {name: f"postgresql://{_role(name)}:{password}@{database}" for name, password in passwords.items()}
    for service in SERVICES:
        values = {"secret_key": key, "database_url": urls[service]}
        if service == "auth":
            values["admin_password"] = made.secret("admin_password", 12)
        made.write(f"{service}.toml", _toml(values))
    made.write(
        "migrate.toml",
        _toml({"secret_key": key})
        + "".join(f"\n[{name}]\n{_toml({'database_url': url})}" for name, url in urls.items()),
    )
    made.write(
        "servers/roles.sql", CLOSED + "".join(_role_sql(service, password) for service, password in passwords.items())
    )
    made.write("servers/postgres_password", made.secret("postgres_password", 24))
    public = {user.name: _public_key(made.seed(user.name)) for user in USERS}
    users = [user_block(user, public[user.name]) for user in USERS]
    # The server's syntax is a superset of JSON.
    made.write(
        "servers/accounts.conf",
        f"accounts: {json.dumps({'APP': {'jetstream': 'enabled', 'users': users}}, indent=1)}\n",
    )
    made.save()


class _Made:
    """What was made before, in `servers/made.json`, so that every other file can be written again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "servers" / "made.json"
        self._values: dict[str, str] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def secret(self, name: str, strength: int) -> str:
        return self._values.setdefault(name, secrets.token_urlsafe(strength))

    def seed(self, user: str) -> bytes:
        text = self._values.setdefault(
            f"seed.{user}", nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
        )
        self.write(f"{user}.nk", text)
        return text.encode()

    def write(self, name: str, content: str) -> None:
        # The folder is ours alone. The files are readable: a container has another account and sees them singly.
        path = self._folder / name
        write_durably(path, content.encode())
        path.chmod(0o644)

    def save(self) -> None:
        write_durably(self._path, json.dumps(self._values, indent=1).encode())


def _role(service: str) -> str:
    return f"longshore_{service}"


def _role_sql(service: str, password: str) -> str:
    """Run in the database of Longshore by an administrator, before the first migration."""
    role = _role(service)
    return (
        f"create role {role} login password '{password}';\n"
        f"alter role {role} set transaction_timeout = '10s';\n"
        f"do $$ begin execute format('grant connect on database %I to {role}', current_database()); end $$;\n"
        f"create schema {service} authorization {role};\n"
    )


def _toml(values: Mapping[str, str]) -> str:
    """Values have letters, digits and the signs of a URL; JSON's strings are TOML's."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _public_key(seed: bytes) -> str:
    public: bytes = nkeys.from_seed(seed).public_key
    return public.decode()


if __name__ == "__main__":
    sys.exit(main())
