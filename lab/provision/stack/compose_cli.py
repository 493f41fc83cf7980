"""`docker compose` for one stack, through testcontainers' DockerCompose with the project name of the stack."""

import os
from functools import cached_property
from pathlib import Path
from subprocess import CompletedProcess

# testcontainers must remove nothing when this process ends, because the stack outlives it.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.compose import DockerCompose

from lab.host.machine.shell import Runner
from lab.provision.machine.engine import Engine
from lab.provision.stack.stack_spec import StackSpec, compose_variables
from lab.repository import COMPOSE, COMPOSE_FILE

TIMEOUT_S = 120.0


class StackCompose(DockerCompose):
    """Starts and stops services of one stack; raises WorldError with compose's own message."""

    def __init__(
        self, spec: StackSpec, engine: Engine, runner: Runner, services: list[str] | None = None
    ) -> None:
        super().__init__(
            context=str(COMPOSE),
            compose_file_name=[str(COMPOSE_FILE), str(spec.directory / "target.json")],
            wait=False,
            keep_volumes=True,
            services=services,
            docker_command_path="docker",
            profiles=list(spec.profiles) or None,
        )
        self._project = spec.project
        self._runner = runner
        # Set even if they are empty, so that variables of the user's shell cannot change the stack.
        self._variables = {
            "COMPOSE_PROFILES": "",
            "COMPOSE_FILE": "",
            **compose_variables(spec),
            **engine.environment,
        }

    @cached_property
    def compose_command_property(self) -> list[str]:
        command: list[str] = super().compose_command_property
        return [*command, "--project-name", self._project]

    def _run_command(self, cmd: str | list[str], context: str | None = None) -> CompletedProcess[bytes]:
        parts = cmd.split() if isinstance(cmd, str) else cmd
        cwd = Path(context or str(self.context))
        done = self._runner.run(parts, timeout_s=TIMEOUT_S, env=self._variables, cwd=cwd)
        done.require(
            f"compose failed: {parts[-1]}",
            where=f"project {self._project}",
            try_="`lab doctor`, then `lab up`",
        )
        return CompletedProcess(parts, done.returncode, done.stdout.encode(), done.stderr.encode())

    def create(self) -> None:
        """Create the containers of the given services, and those that they need, without starting any."""
        self._run_command([*self.compose_command_property, "up", "--no-start", *(self.services or [])])

    def down(self, *, volumes: bool) -> None:
        """Remove the stack's containers and network, and with `volumes` its volumes, except the store's."""
        extra = ["--volumes"] if volumes else []
        self._run_command([*self.compose_command_property, "down", "--timeout", "5", *extra])
