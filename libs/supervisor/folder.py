"""The data folder: where everything of one installation lives, and that only one of us uses it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from libs import settings
from libs.message import repr_without

LONGEST_SOCKET_FOLDER = 90
"""A Unix socket's path may have 107 bytes; Postgres adds `/.s.PGSQL.5432`."""


class DataFolderInUse(Exception):
    """Longshore runs on this data folder already."""


class UnusableFolder(Exception):
    """The data folder can not be used; the message says why and what to do."""


class Secrets(msgspec.Struct, frozen=True):
    """Made on the first start. Whoever has this file has the installation."""

    secret_key: str
    postgres_password: str
    service_passwords: dict[str, str]

    def __repr__(self) -> str:
        return repr_without(self, "secret_key", "postgres_password", "service_passwords")


class DataFolder:
    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @staticmethod
    def find(chosen: Path | None, environ: Mapping[str, str]) -> DataFolder:
        """The option, the setting, else the user's own place; root's is /var/lib/longshore, because the account that
        runs Postgres for root can not enter root's home. Raises UnusableFolder, BadSettings."""
        named = chosen or settings.read("data_dir", environ)
        if not named and os.geteuid() == 0:
            return DataFolder(Path("/var/lib/longshore"))
        path = Path(named or Path(environ.get("XDG_DATA_HOME") or "~/.local/share", "longshore"))
        try:
            return DataFolder(path.expanduser())
        except RuntimeError:
            raise UnusableFolder(
                f"{path}: there is no such home folder. Choose a folder for the data with --data or LONGSHORE_DATA_DIR."
            ) from None

    postgres = property(lambda self: self.path / "postgres")
    nats = property(lambda self: self.path / "nats")
    run = property(lambda self: self.path / "run")
    work = property(lambda self: self.path / "work")
    files = property(lambda self: self.path / "files")

    def log(self, name: str) -> Path:
        return self.path / "run" / f"{name}.log"

    def seed(self, user: str) -> Path:
        return self.path / "nats" / "keys" / f"{user}.nk"

    def create(self) -> None:
        """Raises UnusableFolder."""
        try:
            # Enterable by others, for the account that runs Postgres; what is inside is closed one by one.
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            for folder in (self.nats, self.run, self.work, self.nats / "keys"):
                folder.mkdir(mode=0o700, exist_ok=True)
            self.files.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise UnusableFolder(f"create {self.path}: {error.strerror}. Choose another folder with --data.") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Raises DataFolderInUse, UnusableFolder. The kernel lets go when we die, however we die."""
        self.create()
        try:
            handle = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            raise self._foreign() from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
                raise DataFolderInUse(f"Longshore runs on {self.path} already (process {holder}).") from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def secrets(self, services: tuple[str, ...], chosen: str | None = None) -> Secrets:
        """Loaded, or made, with the key that was `chosen`; complete for `services` and on disk before it is returned.
        Raises UnusableFolder for another key than what is kept here was sealed with."""
        path = self.path / "secrets.json"
        try:
            known = msgspec.json.decode(path.read_bytes(), type=Secrets)
        except FileNotFoundError:
            known = Secrets(chosen or secrets.token_urlsafe(48), secrets.token_urlsafe(24), {})
        if chosen is not None and chosen != known.secret_key:
            raise UnusableFolder(
                f"LONGSHORE_SECRET_KEY is not the key that {self.path} was made with, and nothing that was sealed with "
                "that one could be opened. It is kept in secrets.json there: remove the setting."
            )
        missing = {name: secrets.token_urlsafe(24) for name in services if name not in known.service_passwords}
        if missing or not path.exists():
            known = msgspec.structs.replace(known, service_passwords={**known.service_passwords, **missing})
            write_durably(path, msgspec.json.format(msgspec.json.encode(known)))
        return known

    @contextmanager
    def socket_folder(self, owner: tuple[int, int] | None) -> Iterator[Path]:
        """For Postgres' socket, enterable by its account alone besides us; below /tmp when our own path
        can not be its address."""
        own = self.path / "run" / "pg"
        if owner is None and may_hold_socket(own):
            own.mkdir(mode=0o700, exist_ok=True)
            yield own
            return
        made = Path(tempfile.mkdtemp(prefix="longshore-"))
        if owner is not None:
            os.chown(made, *owner)
        try:
            yield made
        finally:
            for left in made.iterdir():
                left.unlink(missing_ok=True)
            made.rmdir()

    def announce(self, nats_url: str) -> None:
        """For the command line: how to reach what runs here."""
        write_durably(self.run / "endpoint.json", json.dumps({"nats_url": nats_url}).encode())

    def endpoint(self) -> str | None:
        """None when nothing was announced; what was may have ended since. Raises UnusableFolder."""
        try:
            return str(json.loads((self.run / "endpoint.json").read_bytes())["nats_url"])
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise self._foreign() from error
        except OSError as error:
            raise UnusableFolder(f"read {self.path}: {error.strerror}. Choose another folder with --data.") from error

    def _foreign(self) -> UnusableFolder:
        return UnusableFolder(
            f"{self.path} is another account's. Be that account, or choose your own folder with --data."
        )

    def withdraw(self) -> None:
        (self.run / "endpoint.json").unlink(missing_ok=True)


def may_hold_socket(folder: Path) -> bool:
    """Whether a socket in it can be an address: a short one, without the comma that would make it two."""
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER and "," not in str(folder)


def write_durably(path: Path, content: bytes) -> None:
    """Readable by us alone; the old content or the new, never half."""
    partial = path.with_name(path.name + ".partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    # A file, because os.write takes what there is room for and says nothing of the rest.
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)
    partial.replace(path)
