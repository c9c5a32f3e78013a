"""What compose.yaml and the chart start, in one shape, and whether a process would accept what it is told there."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec

from libs import settings
from libs.settings import environment_name, environment_names
from proto import SERVICES
from services.job.worker.settings import WorkerSettings
from services.serve import load_service

ROOT = Path(__file__).parents[2]
DEPLOYED = {name.replace("_", "-"): name for name in SERVICES}
STRUCTS: Mapping[str, type[msgspec.Struct]] = {
    **{name: load_service(name).settings for name in SERVICES},
    "worker": WorkerSettings,
}
CHOSEN_BY_A_SUPERVISOR = {"LONGSHORE_WORKER_ID"}
SEALED = {"LONGSHORE_SECRET_KEY", "LONGSHORE_DATABASE_URL", "LONGSHORE_ADMIN_PASSWORD"}
"""Set in the files that LONGSHORE_CONFIG names, never in an environment that any `inspect` shows."""


@dataclass(frozen=True)
class Container:
    args: tuple[str, ...]
    environ: Mapping[str, str]
    files: frozenset[str]
    """Paths that exist inside it because a secret is mounted there."""

    @property
    def process(self) -> str:
        """Import name of the service, or `worker`, `migrate`."""
        return DEPLOYED[self.args[1]] if self.args[0] == "serve" else self.args[0]

    @property
    def user(self) -> str:
        """Its name on the bus."""
        return {"migrate": "topology"}.get(self.process, self.process)


def script(path: Path) -> ModuleType:
    """A script outside every package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prepare = script(ROOT / "deploy" / "prepare.py").prepare


def accepted(container: Container, mounted: str, secrets: Path) -> Mapping[str, msgspec.Struct]:
    """What the process makes of its environment, with the secrets of `secrets` where `mounted` is in the container.

    Raises BadSettings as the process would.
    """
    environ = {name: value.replace(mounted, str(secrets)) for name, value in container.environ.items()}
    if container.process == "migrate":
        return settings.load({name: STRUCTS[name] for name in SERVICES}, environ)
    return settings.load({container.process: STRUCTS[container.process]}, environ)


def missing(container: Container) -> set[str]:
    """Names that the process knows and that nobody could set without changing the template."""
    return environment_names(STRUCTS[container.process]) - set(container.environ) - SEALED - CHOSEN_BY_A_SUPERVISOR


__all__ = ["DEPLOYED", "ROOT", "SEALED", "STRUCTS", "Container", "accepted", "environment_name", "missing", "prepare"]
