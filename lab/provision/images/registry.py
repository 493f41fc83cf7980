"""Asks container registries whether they have an image; a registry that fails is not asked again."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from lab.provision.machine.engine import Engine
from lab.provision.machine.progress import Progress

ASK_TIMEOUT_S = 4
PULL_TIMEOUT_S = 120
DEFAULT_HOST = "the default registry"

Ask = Callable[[str], str]


@dataclass(slots=True)
class _Host:
    lock: threading.Lock = field(default_factory=threading.Lock)
    failure: str = ""


class Registry:
    """Asks registries through the engine, because its network and credentials matter; failed hosts are remembered."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def digest(self, ref: str) -> str | None:
        """The digest of a tag in its registry; None if the registry does not answer or does not have it."""
        host = self._host(ref)
        with host.lock:
            if host.failure:
                return None
            try:
                return self._ask(ref)
            except (NotFound, LookupError):
                return None
            except (APIError, DockerException, requests.RequestException, OSError) as error:
                host.failure = explain(error)
                return None

    def why_silent(self, ref: str) -> str:
        """Why the registry of `ref` does not answer; empty if it answers."""
        return self._host(ref).failure

    def _host(self, ref: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(host_of(ref), _Host())


def through(engine: Engine) -> Ask:
    """A function that asks registries through the engine's distribution API, with a short timeout."""

    def ask(ref: str) -> str:
        client = engine.client(timeout_s=ASK_TIMEOUT_S)
        try:
            return str(client.images.get_registry_data(ref).id)
        except APIError as error:
            if "manifest unknown" in str(error) or "not found" in str(error).lower().replace(
                "host not found", ""
            ):
                raise LookupError(ref) from error
            raise
        finally:
            client.close()

    return ask


def host_of(ref: str) -> str:
    """The registry of a reference. Docker's rule: the first part is a host if it contains a dot or a colon."""
    first, slash, _ = ref.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first if is_host else DEFAULT_HOST


def explain(error: Exception) -> str:
    """The engine's own message, without the address of the request."""
    text = str(getattr(error, "explanation", None) or error)
    return text.strip().strip('"')[:200]


def pull(client: docker.DockerClient, ref: str, progress: Progress) -> str | None:
    """Pull a pinned tag; returns None on success, else the reason (a registry may stop in the middle)."""
    repository, _, tag = ref.rpartition(":")
    with progress.step(f"pulling {ref}") as step:
        try:
            for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in event:
                    return str(event["error"])
                step.at(
                    " ".join(str(event.get(key, "")) for key in ("id", "status", "progress")).strip()[:60]
                )
            client.images.get(ref)
        except InterruptedError:
            raise
        except (APIError, DockerException, requests.RequestException, OSError) as error:
            return explain(error)
        step.at("")
    return None
