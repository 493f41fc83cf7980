"""The base of all images that are built here: a pinned tag if available, else a minimal Debian made here."""

import hashlib
import platform
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import docker
import requests
from docker.errors import APIError, DockerException

from lab.errors import WorldError
from lab.host.machine.shell import Runner, is_root
from lab.provision.images.drafts import draft_directory
from lab.provision.images.image_build import image_id
from lab.provision.images.image_specs import BaseSpec, Mode
from lab.provision.images.registry import Registry, pull
from lab.provision.machine.engine import Engine
from lab.provision.machine.packages import Packages, os_release
from lab.provision.machine.progress import Progress, Step

RECIPE_VERSION = 2
DEBOOTSTRAP_TIMEOUT_S = 420.0
TAR_TIMEOUT_S = 120.0
IMPORT_TIMEOUT_S = 300


@dataclass(slots=True)
class BaseImage:
    """Decides once which base image to use, and fetches or makes it when a build needs it for the first time."""

    spec: BaseSpec
    mode: Mode
    engine: Engine
    registry: Registry
    runner: Runner
    packages: Packages
    progress: Progress
    _ref: str = ""
    _there: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ref(self) -> str:
        """The name of the base; an image that the engine has is preferred, so that nothing is rebuilt needlessly."""
        with self._lock:
            if not self._ref:
                self._ref = self._choose()
            return self._ref

    def ensure(self) -> str:
        """Make sure that the engine has the base, and return its name."""
        ref = self.ref()
        with self._lock:
            if not self._there:
                self._get(ref)
                self._there = True
        return ref

    def _choose(self) -> str:
        built = built_ref(self.spec)
        if self.mode == "build":
            return built
        client = self.engine.client()
        try:
            for ref in (self.spec.registry, built):
                if image_id(client, ref):
                    return ref
        finally:
            client.close()
        return self.spec.registry if self.registry.digest(self.spec.registry) else built

    def _get(self, ref: str) -> None:
        client = self.engine.client(IMPORT_TIMEOUT_S)
        try:
            if image_id(client, ref):
                return
            if ref == self.spec.registry:
                self._pull(client, ref)
            else:
                self._make(client, ref)
        finally:
            client.close()

    def _pull(self, client: docker.DockerClient, ref: str) -> None:
        failure = pull(client, ref, self.progress)
        if failure:
            raise WorldError(
                "the base image could not be pulled",
                where=ref,
                last_state=failure,
                try_="run this again, or with `--images build`",
            )

    def _make(self, client: docker.DockerClient, ref: str) -> None:
        if not is_root():
            raise WorldError(
                "only root can make the base image",
                where=ref,
                last_state=self.registry.why_silent(self.spec.registry) or "no base image in the engine",
                try_="run this with sudo, or load the image (`docker pull " + self.spec.registry + "`)",
            )
        if not self.runner.find("debootstrap"):
            self.packages.install(["debootstrap"], why="the base image is made on this machine")
        with self._making(ref) as (step, draft):
            with reachable_without_spaces(draft) as short:
                self._bootstrap(short / "rootfs", step)
            tar = draft / "base.tar"
            step.at("packing")
            self.runner.run(
                ["tar", "--numeric-owner", "-C", str(draft / "rootfs"), "-cf", str(tar), "."],
                timeout_s=TAR_TIMEOUT_S,
            ).require(
                "the base image could not be packed", where=str(draft), try_="check the free disk space"
            )
            step.at("importing")
            _import(client, tar, ref)
            step.at("")

    @contextmanager
    def _making(self, ref: str) -> Iterator[tuple[Step, Path]]:
        with (
            self.progress.step(f"making {ref} (debootstrap {self.spec.suite})") as step,
            draft_directory("base") as draft,
        ):
            yield step, draft

    def _bootstrap(self, rootfs: Path, step: Step) -> None:
        step.at("debootstrap")
        include = f"--include={','.join(self.spec.packages)}"
        command = ["debootstrap", "--variant=minbase", include, self.spec.suite, str(rootfs)]
        mirror = debian_mirror(apt_source_files(), os_release())
        self.runner.run([*command, *([mirror] if mirror else [])], timeout_s=DEBOOTSTRAP_TIMEOUT_S).require(
            "the base image could not be made",
            where=f"debootstrap {self.spec.suite}",
            try_="check whether this machine reaches its Debian mirror (`apt-get update`), then try again",
        )
        for package in (rootfs / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()


@contextmanager
def reachable_without_spaces(path: Path) -> Iterator[Path]:
    """`path` itself, or a link to it if it contains spaces, because debootstrap's scripts do not quote it."""
    if not any(character.isspace() for character in str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as folder:
        link = Path(folder) / "draft"
        link.symlink_to(path)
        yield link


def _import(client: docker.DockerClient, tar: Path, ref: str) -> None:
    repository, _, tag = ref.rpartition(":")
    changes = ['CMD ["/bin/bash"]', "ENV LANG=C.UTF-8"]
    try:
        answer = client.api.import_image_from_file(str(tar), repository=repository, tag=tag, changes=changes)
    except (APIError, DockerException, requests.RequestException, OSError) as error:
        answer = str(error)
    if not image_id(client, ref):
        raise WorldError(
            "the engine did not take the base image",
            where=ref,
            last_state=str(answer)[-300:],
            try_="check the engine's log and the free disk space, then run this again",
        )


def built_ref(spec: BaseSpec) -> str:
    """The name of a base that is made here; it depends on recipe, suite, packages and machine."""
    words = [str(RECIPE_VERSION), spec.suite, *sorted(spec.packages), platform.machine()]
    return f"lab.local/base:{hashlib.sha256(' '.join(words).encode()).hexdigest()[:16]}"


def apt_source_files() -> list[str]:
    """The contents of this machine's apt source files."""
    paths = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]


def debian_mirror(sources: Iterable[str], release: dict[str, str]) -> str | None:
    """The Debian archive that this machine uses, or None; debootstrap then uses its own default."""
    if release.get("ID") != "debian":
        return None
    for line in (line for text in sources for line in text.splitlines()):
        words = line.split()
        one_line = len(words) > 2 and words[0] == "deb"
        deb822 = len(words) > 1 and words[0] == "URIs:"
        addresses = [word for word in words[1:] if word.startswith(("http://", "https://"))]
        if (one_line or deb822) and addresses and "security" not in addresses[0]:
            return addresses[0]
    return None
