"""The kernel's report on TCP connections, and how the target's are told apart and added up."""

import socket
import struct

import pytest

from lab.host.network import namespaces, sock_diag, target_traffic
from lab.host.network.sock_diag import ESTABLISHED, LISTEN, SYN_SENT, Connection, connections_in
from lab.host.network.target_traffic import HostTraffic, Ledger, Routes
from lab.model.samples import ENTRANCE, OTHER, PAST, STORE, Traffic
from lab.read.compose_file import read_topology
from tests.contract.fakes.clock import FakeClock
from tests.contract.fakes.containers import FakeContainers

TOXIPROXY, QDRANT, QDRANT6 = "172.30.0.4", "172.30.0.2", "fd00::2"
ROUTES = Routes(
    entrances={("toxiproxy", 8000): "mcp"},
    proxies={("toxiproxy", 6333): "qdrant", ("toxiproxy", 6334): "qdrant_grpc"},
    addresses={
        "toxiproxy": frozenset({TOXIPROXY, "fd00::4"}),
        "qdrant": frozenset({QDRANT, QDRANT6}),
    },
    stores=("qdrant",),
)


def to(
    peer: str,
    port: int,
    *,
    cookie: int = 1,
    local: int = 40_000,
    sent: int = 0,
    received: int = 0,
    state: int = ESTABLISHED,
    inode: int = 0,
) -> Connection:
    return Connection(cookie, state, inode, local, peer, port, 0, 0, sent, received)


@pytest.mark.parametrize(
    ("connection", "way"),
    [
        (to(TOXIPROXY, 6333), (STORE, "qdrant")),
        (to(TOXIPROXY, 6334), (STORE, "qdrant_grpc")),
        (to("fd00::4", 6333), (STORE, "qdrant")),
        (to(QDRANT, 6333), (PAST, "172.30.0.2:6333")),
        (to(QDRANT, 6334), (PAST, "172.30.0.2:6334")),
        (to(QDRANT6, 6333), (PAST, "[fd00::2]:6333")),
        (to(TOXIPROXY, 51_234, local=8000), (ENTRANCE, "mcp")),
        (to("172.30.0.1", 51_234, local=8000), None),
        (to(QDRANT, 51_234, local=8000), None),
        (to("203.0.113.9", 6333), (OTHER, "203.0.113.9:6333")),
        (to("127.0.0.1", 6333), None),
        (to("::1", 6333), None),
    ],
)
def test_a_connection_is_told_by_where_it_leads(connection: Connection, way: tuple[str, str] | None) -> None:
    assert ROUTES.way_of(connection) == way


def row(rows: list[Traffic], peer: str) -> Traffic:
    return next(found for found in rows if found.peer == peer)


def test_a_connection_that_ended_keeps_its_bytes() -> None:
    ledger = Ledger()
    first = ledger.rows(0.0, ROUTES, [to(TOXIPROXY, 6333, sent=100, received=300)], [])
    ended = to(TOXIPROXY, 6333, sent=150, received=400, state=7)
    brief = to(TOXIPROXY, 6333, cookie=2, sent=10, received=20, state=7)
    # The kernel may list a connection and report its end in one reading.
    both = ledger.rows(1.0, ROUTES, [to(TOXIPROXY, 6333, sent=140, received=300)], [ended, brief])
    later = ledger.rows(2.0, ROUTES, [], [])
    assert (row(first, "qdrant").sent_bytes, row(first, "qdrant").opened) == (100, 1)
    for rows in (both, later):
        assert (row(rows, "qdrant").sent_bytes, row(rows, "qdrant").received_bytes) == (160, 420)
        assert (row(rows, "qdrant").opened, row(rows, "qdrant").ended) == (2, 2)
        assert row(rows, "qdrant").established == 0


def test_every_reading_tells_of_each_proxy_also_where_nothing_crosses() -> None:
    rows = Ledger().rows(0.0, ROUTES, [], [])
    assert {(found.route, found.peer) for found in rows} == {
        (ENTRANCE, "mcp"),
        (STORE, "qdrant"),
        (STORE, "qdrant_grpc"),
    }


def test_what_carried_nothing_and_never_tried_to_is_not_the_targets_doing() -> None:
    """The lab connects from the target's network, and closes what it opened."""
    ledger = Ledger()
    own = to(TOXIPROXY, 6333, state=SYN_SENT, inode=77)
    rows = ledger.rows(0.0, ROUTES, [own], [], frozenset({77}))
    rows = ledger.rows(1.0, ROUTES, [], [to(TOXIPROXY, 6333, sent=1, state=7)])
    assert row(rows, "qdrant").opened == 0
    # The target's own attempt counts, also where it fails.
    ledger.rows(2.0, ROUTES, [to(TOXIPROXY, 6333, cookie=3, state=SYN_SENT)], [])
    rows = ledger.rows(3.0, ROUTES, [], [to(TOXIPROXY, 6333, cookie=3, state=7)])
    assert (row(rows, "qdrant").opened, row(rows, "qdrant").ended) == (1, 1)


class _Diagnosis:
    """A namespace in which the lab has a connection that it closes as soon as it has been listed."""

    def __init__(self, own: set[int]) -> None:
        self._own = own

    def open_connections(self) -> list[Connection]:
        self._own.clear()
        return [to(QDRANT, 6333, inode=77), to(TOXIPROXY, 6333, cookie=2, state=SYN_SENT, inode=78)]

    def ended_connections(self) -> list[Connection]:
        return []


def test_what_the_lab_closes_while_it_reads_is_not_the_targets_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {77, 78}
    traffic = HostTraffic(read_topology("test"), FakeContainers(), FakeClock())
    monkeypatch.setattr(traffic, "_diagnosis", lambda: _Diagnosis(own))
    monkeypatch.setattr(traffic, "_routes", lambda: ROUTES)
    monkeypatch.setattr(target_traffic, "_own_sockets", lambda: frozenset(own))
    rows = list(traffic.read())
    assert not [found for found in rows if found.route == PAST]
    assert row(rows, "qdrant").opened == 0


def test_callers_that_come_and_go_do_not_make_every_later_reading_longer() -> None:
    """A user's own monitoring, say, connects anew each second: to the target's port, or to another that it serves."""
    ledger = Ledger()
    for port in range(40_000, 41_000):
        for cookie, local in ((port, 8000), (-port, 9100)):
            ended = to("172.30.0.1", port, cookie=cookie, local=local, sent=10, received=90, state=7)
            rows = ledger.rows(0.0, ROUTES, [], [ended])
    assert len(rows) < 100
    others = [found for found in rows if found.route == OTHER]
    assert sum(found.ended for found in others) == 1000, "what leads elsewhere is counted all the same"
    assert sum(found.received_bytes for found in others) == 90_000


def test_an_idle_connection_past_the_proxy_is_seen() -> None:
    rows = Ledger().rows(0.0, ROUTES, [to(QDRANT6, 6334)], [])
    assert row(rows, "[fd00::2]:6334").established == 1


def message(family: int, state: int, peer: bytes, info: bytes) -> bytes:
    """One answer of the kernel, as linux/inet_diag.h lays it out."""
    head = struct.pack("=BBBB", family, state, 0, 0) + struct.pack("!HH", 40_000, 6333)
    head += (
        bytes(16) + peer.ljust(16, b"\0") + struct.pack("=IQ", 0, 99) + struct.pack("=IIIII", 0, 0, 0, 0, 7)
    )
    mark, length = struct.pack("=HHI", 8, 15, 0), struct.pack("=HH", 4 + len(info), 2)
    body = head + mark + length + info
    return struct.pack("=IHHII", 16 + len(body), 20, 0, 0, 0) + body


def test_the_kernels_answer_is_read_field_by_field() -> None:
    info = bytearray(240)
    struct.pack_into("=I", info, 24, 5)
    struct.pack_into("=I", info, 100, 6)
    struct.pack_into("=QQ", info, 120, 1000, 2000)
    mapped = bytes(10) + b"\xff\xff" + socket.inet_aton(QDRANT)
    answer = message(socket.AF_INET6, ESTABLISHED, mapped, bytes(info))
    answer += message(socket.AF_INET, LISTEN, bytes(4), bytes(240))
    (found,) = connections_in(answer)
    assert found == Connection(99, ESTABLISHED, 7, 40_000, QDRANT, 6333, 5, 6, 1000, 2000)


def test_an_error_of_the_kernel_is_raised() -> None:
    refused = struct.pack("=IHHII", 36, 2, 0, 0, 0) + struct.pack("=i", -2) + bytes(16)
    with pytest.raises(FileNotFoundError):
        list(connections_in(refused))


class Kernel:
    """What the kernel sends to a socket that asks: the answers in turn, then nothing more."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.closed = list(answers), False

    def send(self, question: bytes) -> int:
        return len(question)

    def recv(self, size: int) -> bytes:
        return self.answers.pop(0)

    def close(self) -> None:
        self.closed = True


NO_MODULE = struct.pack("=IHHII", 36, 2, 0, 0, 0) + struct.pack("=i", -2) + bytes(16)
DONE = struct.pack("=IHHII", 16, 3, 0, 0, 0)


def test_a_kernel_without_the_module_is_known_by_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes the sockets all the same."""
    for answers, why in (
        ((NO_MODULE,), "No such file"),
        ((DONE, NO_MODULE), "No such file"),
        ((DONE, DONE), ""),
    ):
        asking, ended = Kernel(*answers), Kernel()
        monkeypatch.setattr(namespaces, "inside", lambda namespace, act, made=(asking, ended): made)
        said = sock_diag.why_unreadable()
        assert why in said and bool(why) == bool(said)
        assert asking.closed and ended.closed


def test_a_kernel_that_makes_no_such_socket_is_known_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*kind: object) -> socket.socket:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr(namespaces, "inside", lambda namespace, act: act())
    monkeypatch.setattr(socket, "socket", refused)
    assert "Protocol not supported" in sock_diag.why_unreadable()


def test_a_connection_without_counts_has_none() -> None:
    (found,) = connections_in(message(socket.AF_INET, SYN_SENT, socket.inet_aton(QDRANT), b""))
    assert (found.sent_bytes, found.received_bytes, found.peer) == (0, 0, QDRANT)
