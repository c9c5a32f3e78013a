"""compose.yaml starts every service, tells each what it understands, and gives the servers the accounts they need."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs import bus as buses
from libs.database import Target, migrate, open_pool
from libs.runtime import ServiceSettings
from libs.supervisor import DataFolder
from libs.supervisor.nats import binary
from libs.supervisor.postgres import CLUSTER, DATABASE, Postgres, unprivileged
from proto import SERVICES
from proto.topology import CONSUMERS, STREAMS, USERS
from services.serve import migrations
from tests.contracts.deployments import DEPLOYED, ROOT, SEALED, STRUCTS, Container, accepted, missing, prepare
from tests.support.ports import own_port
from tests.support.sure import being

MOUNTED = "/run/secrets"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
OURS = {name: one for name, one in COMPOSE["services"].items() if str(one["image"]).startswith("longshore:")}


def plain(value: object) -> str:
    """With every ${NAME:-default} at its default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def container(service: dict[str, Any]) -> Container:
    environ = {name: plain(value) for name, value in service["environment"].items()}
    return Container(tuple(service["command"]), environ, frozenset(f"{MOUNTED}/{one}" for one in service["secrets"]))


CONTAINERS = {name: container(one) for name, one in OURS.items() if name != "cli"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    prepare(folder, "postgres:5432/longshore")
    return folder


def test_compose_and_code_have_the_same_services() -> None:
    """Every service there is, two workers and the migrations; nothing else of ours stays up."""
    assert {name: one.process for name, one in CONTAINERS.items()} == {
        **DEPLOYED,
        "worker": "worker",
        "migrate": "migrate",
    }
    assert OURS["worker"]["deploy"] == {"replicas": 2}
    assert set(COMPOSE["services"]) - set(OURS) == {"edge", "postgres", "nats"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_process_accepts_what_compose_tells_it(name: str, secrets: Path) -> None:
    """With the secrets that prepare.py makes, every setting has a value, the right type and a known name."""
    assert accepted(CONTAINERS[name], MOUNTED, secrets)


def test_the_edge_leads_to_who_serves_files_and_the_rest_to_the_gateway() -> None:
    """One public address for three services, by the paths that each of them mounts."""
    text = (ROOT / "deploy" / "Caddyfile").read_text()

    assert re.findall(r"handle ?(\S*) \{\s+reverse_proxy (\S+):8000", text) == [
        ("/files/*", "storage"),
        ("/download/*", "unrestrict-proxy"),
        ("", "gateway"),
    ]
    assert set(COMPOSE["services"]["edge"]["depends_on"]) == {"storage", "unrestrict-proxy", "gateway"}


def test_every_setting_can_be_set() -> None:
    """No setting of a service is out of the operator's reach."""
    assert {name: missing(one) for name, one in CONTAINERS.items() if one.process in STRUCTS and missing(one)} == {}


def test_each_process_sees_its_own_secrets_alone() -> None:
    """Each container gets its configuration and its seed as files, and no secret in its environment."""
    for name, one in CONTAINERS.items():
        wanted = {f"{MOUNTED}/{one.user}.nk"} | (
            {f"{MOUNTED}/{one.process}.toml"} if one.process != "worker" else set()
        )

        assert one.files == wanted, name
        assert {one.environ["LONGSHORE_NATS_SEED"], one.environ.get("LONGSHORE_CONFIG")} - {None} == wanted, name
        assert not SEALED & set(one.environ), name


def test_every_secret_is_a_file_that_prepare_makes(secrets: Path) -> None:
    """And every one that is declared is used."""
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in COMPOSE["services"].values()
        for secret in service.get("secrets", ())
    }

    assert used == set(COMPOSE["secrets"])
    assert [
        name
        for name, one in COMPOSE["secrets"].items()
        if not (secrets / one["file"].removeprefix("secrets/")).is_file()
    ] == []


def test_prepare_keeps_what_exists(tmp_path: Path) -> None:
    """A second run changes nothing, so it is safe before every upgrade."""
    prepare(tmp_path, "postgres:5432/longshore")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    prepare(tmp_path, "postgres:5432/longshore")

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_the_database_is_made_as_the_supervisor_makes_its_own() -> None:
    """With arguments that initdb is known to take, or the first start would end there."""
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_INITDB_ARGS"].split() == list(CLUSTER)


def test_the_image_runs_as_nobody_in_particular() -> None:
    """Without root, and with the service's name as an argument."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()

    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE) == ['["longshore"]']


async def test_the_bus_of_compose_knows_every_user(secrets: Path, tmp_path: Path) -> None:
    """With its configuration and the accounts that were made, all users get in and the streams can be made."""
    port = own_port()
    text = (ROOT / "deploy" / "nats.conf").read_text()
    assert re.search(r"^\s*sync_interval: always$", text, re.MULTILINE)
    here = text.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("0.0.0.0:8222", "127.0.0.1:-1")
    (tmp_path / "nats.conf").write_text(here.replace("store_dir: /data", f'store_dir: "{tmp_path / "store"}"'))
    (tmp_path / "accounts.conf").write_bytes((secrets / "servers" / "accounts.conf").read_bytes())
    process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [binary(), "-c", tmp_path / "nats.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for user in USERS:
            bus = await buses.open(f"nats://127.0.0.1:{port}", user=user.name, seed=secrets / f"{user.name}.nk")
            if user.name == "topology":
                await buses.ensure_topology(bus, STREAMS, CONSUMERS)
            await bus.close()
    finally:
        process.terminate()
        process.wait(10)


async def test_the_database_of_compose_takes_the_migrations(secrets: Path, tmp_path: Path) -> None:
    """roles.sql makes what each service's URL needs: its schema, and a closed door to every other."""
    folder = DataFolder(tmp_path / "data")
    folder.create()
    identity = unprivileged()
    with folder.socket_folder((identity.uid, identity.gid) if identity else None) as socket:
        server = Postgres(folder, folder.secrets(()), socket, identity)
        await server.start()
        try:
            await server.ensure_roles(())
            async with server.superuser(DATABASE) as admin:
                await admin.execute((secrets / "servers" / "roles.sql").read_text())
            urls = {
                name: being(ServiceSettings, value).database_url.replace(
                    "@postgres:5432/longshore", f"@/{DATABASE}?host={socket}"
                )
                for name, value in accepted(CONTAINERS["migrate"], MOUNTED, secrets).items()
            }
            for name in SERVICES:
                assert await migrate(Target(urls[name], name, migrations(name)))
            pool = await open_pool(urls["gateway"], "gateway")
            allowed = await pool.fetch(
                "select n, has_schema_privilege(n, 'usage') as may from unnest($1::text[]) n", SERVICES
            )
            await pool.close()
            assert {row["n"] for row in allowed if row["may"]} == {"gateway"}
        finally:
            await server.stop()
