"""The chart renders to valid manifests, and says what the services understand: no more, and nothing less."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from libs.runtime import ServiceSettings
from proto import SERVICES
from services.job.worker.settings import WorkerSettings
from tests.contracts.deployments import DEPLOYED, ROOT, SEALED, STRUCTS, Container, accepted, missing, prepare
from tests.support.sure import being

CHART = ROOT / "helm" / "longshore"
KUBERNETES = ("1.29", "1.35")
MOUNTED = "/run/longshore"
EVERYTHING: dict[str, Any] = {
    "publicUrl": "https://longshore.example.org",
    "egressAllow": "10.1.0.0/16",
    "otlpEndpoint": "http://collector:4318",
    "secret": {"files": {"gateway.toml": 'secret_key = "x"\n'}},
    "data": {"storageClassName": "shared"},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a.example/b": "c"}},
}


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(str(CHART)) as chart:
        pages = chart.render(values, name="demo", namespace="prod")
    found = [part for name, text in pages.items() if name.endswith(".yaml") for part in yaml.safe_load_all(text)]
    return [manifest for manifest in found if manifest]


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def container(pod: dict[str, Any]) -> Container:
    [only] = pod["containers"]
    [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    environ = {one["name"]: one["value"] for one in only["env"]}
    assert len(environ) == len(only["env"])
    return Container(tuple(only["args"]), environ, frozenset(f"{MOUNTED}/{item['path']}" for item in secret["items"]))


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return rendered({})


@pytest.fixture(scope="module")
def containers(manifests: list[dict[str, Any]]) -> dict[str, Container]:
    return {name: container(pod) for name, pod in pods(manifests)}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    prepare(folder, "db.example.org:5432/longshore?sslmode=require")
    return folder


def test_the_chart_has_no_errors() -> None:
    """Helm's own lint finds nothing but the missing icon."""
    report = helm.lint(str(CHART))

    assert report["errors"] == []
    assert [one["error"] for one in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_every_manifest_is_valid(values: dict[str, Any], version: str) -> None:
    """Each object is accepted by the schema of an old and a new Kubernetes, unknown fields included."""
    manifests = rendered(values)
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)

    assert len(manifests) >= 2 * len(SERVICES) + 3


def test_chart_and_code_have_the_same_services(
    manifests: list[dict[str, Any]], containers: dict[str, Container]
) -> None:
    """One Deployment and one Service for every service there is, a worker, and the migrations; nothing else runs."""
    services = {one["metadata"]["name"] for one in manifests if one["kind"] == "Service"}

    assert services == {f"demo-{name}" for name in DEPLOYED}
    assert set(containers) == services | {"demo-worker", "demo-migrate"}
    assert {name: one.process for name, one in containers.items()} == {
        **{f"demo-{deployed}": name for deployed, name in DEPLOYED.items()},
        "demo-worker": "worker",
        "demo-migrate": "migrate",
    }


def test_every_process_accepts_what_the_chart_tells_it(containers: dict[str, Container], secrets: Path) -> None:
    """With the secrets that the operator makes, every setting has a value, the right type and a known name."""
    for one in containers.values():
        values = accepted(one, MOUNTED, secrets)
        if one.process in STRUCTS:
            told = values[one.process]
            assert isinstance(told, ServiceSettings | WorkerSettings)
            assert str(told.data_dir) == "/data"
        else:
            assert {
                name: being(ServiceSettings, value).database_url.split("@")[1] for name, value in values.items()
            } == dict.fromkeys(SERVICES, "db.example.org:5432/longshore?sslmode=require")


def test_every_setting_can_be_set_by_values(containers: dict[str, Container]) -> None:
    """No setting of a service is out of the operator's reach."""
    assert {name: missing(one) for name, one in containers.items() if one.process in STRUCTS and missing(one)} == {}


def test_no_secret_is_in_an_environment(containers: dict[str, Container]) -> None:
    """Secrets are files, so that neither the API server's readers nor child processes see them."""
    assert {name for name, one in containers.items() if SEALED & set(one.environ)} == set()


def test_each_process_sees_its_own_secrets_alone(containers: dict[str, Container], secrets: Path) -> None:
    """Of the installation's Secret each pod gets its configuration and its seed; the worker its seed."""
    for name, one in containers.items():
        wanted = {f"{one.user}.nk"} | ({f"{one.process}.toml"} if one.process != "worker" else set())

        assert one.files == {f"{MOUNTED}/{file}" for file in wanted}, name
        assert {one.environ["LONGSHORE_NATS_SEED"], one.environ.get("LONGSHORE_CONFIG")} - {None} == one.files, name
        assert all((secrets / file).exists() for file in wanted), name


def test_every_pod_is_confined(manifests: list[dict[str, Any]]) -> None:
    """No root, no writable image, no capability, no token of the cluster; and time to drain."""
    for name, pod in pods(manifests):
        [only] = pod["containers"]

        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["terminationGracePeriodSeconds"] == 60, name
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert only["resources"]["limits"]["memory"], name


def test_no_pod_gets_variables_that_kubernetes_makes_up(manifests: list[dict[str, Any]]) -> None:
    """A release named `longshore` would give every pod LONGSHORE_..._SERVICE_HOST, which settings refuse as unknown."""
    assert [name for name, pod in pods(manifests) if pod["enableServiceLinks"] is not False] == []


def test_every_service_is_probed(manifests: list[dict[str, Any]]) -> None:
    """Liveness asks the event loop alone; readiness asks everything."""
    for name, pod in pods(manifests):
        [only] = pod["containers"]
        if only["args"][0] == "serve":
            assert only["livenessProbe"]["httpGet"]["path"] == "/healthz", name
            assert only["readinessProbe"]["httpGet"]["path"] == "/readyz", name


def test_workers_and_who_serves_their_files_share_one_volume(manifests: list[dict[str, Any]]) -> None:
    """What a worker finished is taken over by a rename and served from there; nobody else sees the folder."""
    [claim] = [one["metadata"]["name"] for one in manifests if one["kind"] == "PersistentVolumeClaim"]
    users = {
        name
        for name, pod in pods(manifests)
        for volume in pod["volumes"]
        if volume.get("persistentVolumeClaim", {}).get("claimName") == claim
    }

    assert users == {"demo-storage", "demo-unrestrict-proxy", "demo-worker"}


def test_migrations_and_their_secret_come_first() -> None:
    """Both are hooks before everything else, the secret before the job."""
    hooks = {
        one["kind"]: one["metadata"]["annotations"]
        for one in rendered(EVERYTHING)
        if "helm.sh/hook" in one["metadata"].get("annotations", {})
    }

    assert set(hooks) == {"Job", "Secret"}
    assert {one["helm.sh/hook"] for one in hooks.values()} == {"pre-install,pre-upgrade"}
    assert int(hooks["Secret"]["helm.sh/hook-weight"]) < 0


def test_the_ingress_leads_to_who_serves_files_and_the_rest_to_the_gateway() -> None:
    """One public address for three services."""
    [ingress] = [one for one in rendered(EVERYTHING) if one["kind"] == "Ingress"]
    [rule] = ingress["spec"]["rules"]

    assert {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]} == {
        "/": "demo-gateway",
        "/files": "demo-storage",
        "/download": "demo-unrestrict-proxy",
    }


@pytest.mark.parametrize(
    "values",
    [
        {"services": {"jobs": {"replicas": 1, "port": 8000}}},
        {"services": {"job": {"replicas": -1}}},
        {"services": {"job": {"settings": {"HOST_LIMIT": 1}}}},
        {"nats": {"url": "localhost"}},
        {"publicUrl": "https://ends.example/"},
        {"ingres": {}},
    ],
    ids=lambda values: next(iter(values)),
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    """A typing error in the values is an error of the chart, not of a pod an hour later."""
    with pytest.raises(helm.HelmError):
        rendered(values)
