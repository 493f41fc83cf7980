"""A control port that hangs, and what a client sees of a connection, against stubs on real sockets."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from lab.errors import FaultError, GoneError
from lab.faults import discover
from lab.faults.link.proof import connections_needed
from lab.faults.proof import plausible
from lab.guard.heal import heal_pending
from lab.host.links.link_probe import converse
from lab.host.links.toxiproxy import Toxiproxy
from lab.model.undo import EnableProxy, RemoveToxic, UndoRecord
from lab.ports.proxies import Exchange
from tests.contract.fakes import FakeContainers, fake_world
from tests.contract.run_fakes import FakeUndos

TIMEOUT_S = 0.3
TOXIC = {"name": "lab-latency-downstream", "type": "latency"}


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener on a free port that hands each connection to a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                accepted = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(accepted,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@dataclass
class ControlPort:
    """Toxiproxy's API in memory; what `hangs` (method, path) is taken and never answered."""

    hangs: set[tuple[str, str]] = field(default_factory=set)
    proxies: dict[str, dict[str, Any]] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.configure()

    def configure(self) -> None:
        self.proxies = {
            name: {"name": name, "listen": "[::]:1", "upstream": "up:1", "enabled": True, "toxics": []}
            for name in ("mcp", "qdrant")
        }

    def serve(self, sock: socket.socket) -> None:
        with sock:
            head, _, body = sock.recv(65536).partition(b"\r\n\r\n")
            method, path = head.decode().split()[:2]
            if (method, path) in self.hangs or ("*", "*") in self.hangs:
                self.released.wait(10)
                return
            status, answer = self.answer(method, path, json.loads(body) if body else None)
            sock.sendall(f"HTTP/1.0 {status} -\r\n\r\n{json.dumps(answer)}".encode())

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if method == "POST" and path == "/proxies":
            self.proxies[body["name"]] = {**body, "toxics": []}
            return 201, body
        if len(parts) == 1:
            return 200, self.proxies
        if parts[1] not in self.proxies:
            return 404, {"error": "proxy not found"}
        proxy = self.proxies[parts[1]]
        if len(parts) > 2:
            return self._toxics(method, proxy, parts, body)
        if method == "DELETE":
            self.proxies.pop(parts[1])
        elif method == "POST":
            proxy.update(body)
        return 200, proxy

    @staticmethod
    def _toxics(method: str, proxy: dict[str, Any], parts: list[str], body: Any) -> tuple[int, Any]:
        if method == "POST":
            proxy["toxics"].append(body)
        elif parts[3] not in [toxic["name"] for toxic in proxy["toxics"]]:
            return 404, {"error": "toxic not found"}
        else:
            proxy["toxics"] = [toxic for toxic in proxy["toxics"] if toxic["name"] != parts[3]]
        return 200, body


class Restartable(FakeContainers):
    """Containers of which a restart unhangs the control port and configures it anew."""

    port: ControlPort

    def restart(self, service: str, container_id: str, grace_s: int) -> None:
        super().restart(service, container_id, grace_s)
        assert service == "toxiproxy"
        self.port.hangs.clear()
        self.port.configure()


@dataclass
class Rig:
    port: ControlPort
    containers: Restartable
    heard: list[tuple[str, str, str]]
    toxiproxy: Toxiproxy

    @property
    def acts(self) -> list[str]:
        return [act for act, _, _ in self.heard]


@pytest.fixture
def rig() -> Iterator[Rig]:
    port, containers, heard = ControlPort(), Restartable(), list[tuple[str, str, str]]()
    containers.port = port
    port.proxies["qdrant"]["toxics"].append(TOXIC)
    with serving(port.serve) as number:
        toxiproxy = Toxiproxy(
            f"http://127.0.0.1:{number}",
            {"mcp": "http://127.0.0.1:9", "qdrant": "http://127.0.0.1:9/healthz"},
            audit=lambda *said: heard.append(said),
            containers=containers,
            timeout_s=TIMEOUT_S,
        )
        yield Rig(port, containers, heard, toxiproxy)
        port.released.set()


def remove(rig: Rig) -> None:
    rig.toxiproxy.remove_toxic("qdrant", name=TOXIC["name"])


def test_a_toxic_is_removed_and_one_that_is_gone_is_fine(rig: Rig) -> None:
    remove(rig)
    remove(rig)
    assert rig.toxiproxy.toxics("qdrant") == []
    assert rig.acts == ["removed toxic"] * 2


def test_a_removal_that_hangs_recreates_the_proxy_as_it_was(rig: Rig) -> None:
    rig.port.hangs.add(("DELETE", f"/proxies/qdrant/toxics/{TOXIC['name']}"))
    remove(rig)
    assert rig.port.proxies["qdrant"] == {
        "name": "qdrant",
        "listen": "[::]:1",
        "upstream": "up:1",
        "enabled": True,
        "toxics": [],
    }
    assert rig.acts == ["removed toxic", "recreated"]
    assert rig.containers.starts == 0


@pytest.mark.parametrize("hung", [("*", "*"), ("DELETE", "/proxies/qdrant")])
def test_a_control_port_that_hangs_wholly_is_restarted(rig: Rig, hung: tuple[str, str]) -> None:
    """The second: the toxic's removal and the proxy's both hang, the rest answers."""
    rig.port.hangs |= {hung, ("DELETE", f"/proxies/qdrant/toxics/{TOXIC['name']}")}
    began = time.monotonic()
    remove(rig)
    assert time.monotonic() - began < 4 * TIMEOUT_S + 1
    assert rig.containers.starts == 1
    assert rig.toxiproxy.toxics("qdrant") == []
    assert rig.acts[-1] == "restarting"


def test_a_proxy_that_cannot_be_made_anew_comes_back_with_the_container(rig: Rig) -> None:
    rig.port.hangs |= {("DELETE", f"/proxies/qdrant/toxics/{TOXIC['name']}"), ("POST", "/proxies")}
    remove(rig)
    assert rig.acts == ["removed toxic", "recreated", "restarting"]
    assert rig.toxiproxy.is_enabled("qdrant")


def test_enabling_that_hangs_is_healed_as_well(rig: Rig) -> None:
    rig.toxiproxy.disable("qdrant")
    rig.port.hangs.add(("POST", "/proxies/qdrant"))
    rig.toxiproxy.enable("qdrant")
    assert rig.toxiproxy.is_enabled("qdrant")
    assert rig.acts == ["disabled", "enabled", "recreated"]


def test_an_addition_that_hangs_is_an_error_and_nothing_more(rig: Rig) -> None:
    rig.port.hangs.add(("POST", "/proxies/qdrant/toxics"))
    with pytest.raises(FaultError, match="does not answer"):
        rig.toxiproxy.add_toxic("qdrant", name="lab-x", kind="timeout", stream="upstream", attributes={})
    assert rig.acts == ["added toxic"]


def test_without_containers_a_hang_is_said() -> None:
    port = ControlPort(hangs={("*", "*")})
    with serving(port.serve) as number:
        alone = Toxiproxy(f"http://127.0.0.1:{number}", {}, timeout_s=TIMEOUT_S)
        with pytest.raises(FaultError, match="does not answer"):
            alone.remove_toxic("qdrant", name="lab-x")
        port.released.set()


def test_a_proxy_that_went_while_the_fault_was_in_force_is_made_anew_as_it_was(rig: Rig) -> None:
    rig.toxiproxy.require_enabled("qdrant")
    del rig.port.proxies["qdrant"]
    remove(rig)
    assert rig.port.proxies["qdrant"]["listen"] == "[::]:1" and rig.toxiproxy.toxics("qdrant") == []
    assert rig.acts == ["removed toxic", "recreated"]
    assert rig.heard[1][2] == "there was no proxy qdrant; all toxics of this proxy go"


@pytest.mark.parametrize("heal", [remove, lambda rig: rig.toxiproxy.enable("qdrant")])
def test_a_proxy_of_which_nothing_is_known_comes_back_with_the_container(
    rig: Rig, heal: Callable[[Rig], None]
) -> None:
    """As for the guardian of a run that was killed between the two halves of making it anew."""
    del rig.port.proxies["qdrant"]
    heal(rig)
    assert rig.toxiproxy.is_enabled("qdrant") and rig.toxiproxy.toxics("qdrant") == []
    assert rig.acts[1:] == ["restarting"] and "there was no proxy qdrant" in rig.heard[1][2]


@pytest.mark.parametrize(
    ("kind", "undo"),
    [("latency", RemoveToxic("qdrant", "lab-latency-downstream")), ("link_down", EnableProxy("qdrant"))],
)
def test_a_heal_without_the_proxy_comes_to_an_end_and_says_that_the_link_is_broken(
    rig: Rig, kind: str, undo: RemoveToxic | EnableProxy
) -> None:
    rig.port.proxies.clear()
    rig.port.configure = lambda: None  # type: ignore[method-assign]
    world, undos = replace(fake_world(), proxies=rig.toxiproxy), FakeUndos()
    undos.record(UndoRecord("run", "f1", kind, "project", 1, 1.0, undo))
    (healed,) = heal_pending(undos, discover(), lambda project: world, lambda record: False)
    assert healed.outcome == "gone"
    assert "no proxy 'qdrant'" in healed.detail and "the link is broken" in healed.detail
    assert not undos.records


def test_without_containers_a_missing_proxy_is_said() -> None:
    port = ControlPort()
    port.proxies.clear()
    with serving(port.serve) as number:
        alone = Toxiproxy(f"http://127.0.0.1:{number}", {}, timeout_s=TIMEOUT_S)
        with pytest.raises(GoneError, match="no proxy 'qdrant'"):
            alone.remove_toxic("qdrant", name="lab-x")


def test_the_time_box_holds_for_the_whole_call() -> None:
    """A port that sends one byte now and then never lets a time-out between bytes expire."""

    def trickle(sock: socket.socket) -> None:
        with sock:
            for _ in range(20):
                try:
                    sock.sendall(b"H")
                except OSError:
                    return
                time.sleep(0.1)

    with serving(trickle) as number:
        began = time.monotonic()
        with pytest.raises(FaultError, match="does not answer"):
            Toxiproxy(f"http://127.0.0.1:{number}", {}, timeout_s=TIMEOUT_S).toxics("qdrant")
        assert time.monotonic() - began < TIMEOUT_S + 1


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answering(reply: bytes, ending: str) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        with sock:
            sock.recv(65536)
            sock.sendall(reply)
            if ending == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif ending == "hang":
                time.sleep(2)

    return serve


@pytest.mark.parametrize(
    ("reply", "ending", "end", "received"),
    [
        (ANSWER, "close", "answered", len(ANSWER)),
        (ANSWER[:-1], "close", "closed", len(ANSWER) - 1),
        (b"", "close", "closed", 0),
        (b"", "reset", "reset", 0),
        (b"", "hang", "silent", 0),
        (ANSWER, "hang", "silent", len(ANSWER)),
    ],
)
def test_how_a_connection_ended_is_told_apart(reply: bytes, ending: str, end: str, received: int) -> None:
    with serving(answering(reply, ending)) as port:
        seen = converse(socket.socket(), ("127.0.0.1", port), "/", Exchange(timeout_s=0.5))
    assert (seen.end, seen.received) == (end, received)


def test_a_refused_connect_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert converse(socket.socket(), ("127.0.0.1", port), "/", Exchange(timeout_s=0.5)).end == "refused"


@pytest.mark.parametrize("alone", [True, False])
def test_what_goes_past_the_proxy_is_asked_in_between(alone: bool) -> None:
    """So a stand-still that delays two exchanges through the proxy delays the one between them as well."""
    asked: list[str] = []

    def telling(name: str) -> Callable[[socket.socket], None]:
        def serve(sock: socket.socket) -> None:
            with sock:
                sock.recv(65536)
                asked.append(name)
                sock.sendall(ANSWER)

        return serve

    port = ControlPort()
    with (
        serving(port.serve) as control,
        serving(telling("through")) as proxied,
        serving(telling("past")) as direct,
    ):
        links, past = ({"qdrant": f"http://127.0.0.1:{number}/"} for number in (proxied, direct))
        toxiproxy = Toxiproxy(f"http://127.0.0.1:{control}", links, direct=past)
        seen = toxiproxy.compare("qdrant", Exchange(alone=alone), 3)
    assert [one.end for one in (*seen.through, *seen.direct)] == ["answered"] * 5
    assert (len(seen.through), len(seen.direct)) == (3, 2)
    assert asked == ["through", "past", "through", "past", "through"]


@pytest.mark.parametrize(("toxicity", "of"), [(1.0, 3), (0.5, 10), (0.2, 31)])
def test_so_many_connections_that_a_toxic_cannot_hide(toxicity: float, of: int) -> None:
    assert connections_needed(toxicity) == of
    assert not plausible(0, of, toxicity)
    assert plausible(round(of * toxicity), of, toxicity)


def test_all_hit_is_not_what_a_small_toxicity_gives() -> None:
    assert not plausible(31, 31, 0.2)
    assert not plausible(2, 3, 1.0)
