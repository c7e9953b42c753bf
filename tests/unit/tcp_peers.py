"""A sender whose other end the test plays, and an acceptor that the test calls: on loopback, each in this process."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated

from hitless.records import ConnectionEvent, Rows, read_record
from hitless.words import FlowClass
from probes.acceptor import Acceptor
from probes.clocks import Bridge
from probes.recording import GrowingTable
from probes.settings import AgentSettings, EndpointSettings, FlowSettings
from probes.sockets import family_of
from probes.tcp_sender import TcpSender
from tests.unit.exchange import craft

POD, PEER, STRANGER = "127.7.0.1", "127.7.0.2", "127.7.0.9"
WAIT_S = 20.0
WIDE = 70_000
"""Added to an SSID it gives a flow id that no SSID can hold."""
INTERVAL_NS = 50_000_000
ABRUPT = struct.pack("ii", 1, 0)


def wait_until(is_true: Callable[[], bool], turn: Callable[[], None], *descriptors: int) -> None:
    """Turn until it is true, woken by these descriptors and now and then."""
    deadline_s = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < deadline_s
        select.select(descriptors, [], [], 0.02)
        turn()


class Port:
    """A port at which the test listens, if it wants to."""

    def __init__(self, backlog: int | None = 16, address: str = PEER) -> None:
        self.socket = socket.socket(family_of(address).number)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, 0))
        self.socket.settimeout(WAIT_S)
        self.number = int(self.socket.getsockname()[1])
        self.fillers: list[socket.socket] = []
        if backlog is not None:
            self.socket.listen(backlog)

    def fill(self) -> None:
        """Take the room for connections that were not accepted, which is one with a backlog of 0: other SYNs are dropped."""
        self.fillers.append(socket.create_connection((PEER, self.number), WAIT_S))
        assert select.select([self.socket], [], [], WAIT_S)[0]

    def accept(self) -> socket.socket:
        opened, _ = self.socket.accept()
        opened.settimeout(WAIT_S)
        return opened

    def close(self) -> None:
        for opened in (self.socket, *self.fillers):
            opened.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def close_with_rst(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
    opened.close()


def wait_hung_up(opened: socket.socket) -> None:
    """Wait until the kernel knows that the other end is gone."""
    poll = select.poll()
    poll.register(opened, 0)
    assert poll.poll(WAIT_S * 1000)


def read_probe(opened: socket.socket) -> STAMPSessionSenderTestUnauthenticated:
    content = opened.recv(44, socket.MSG_WAITALL)
    assert len(content) == 44
    return STAMPSessionSenderTestUnauthenticated(content)


def craft_answer(probe: STAMPSessionSenderTestUnauthenticated, **changes: int) -> bytes:
    """What an honest far end answers, apart from the changes: TCP tells it no TTL."""
    return craft(probe, **({"ttl_sender": 0} | changes))


class Sending:
    """A sender with one flow, or `count` equal ones; time can be made to pass."""

    def __init__(
        self,
        directory: Path,
        flow_class: FlowClass,
        port: int,
        *,
        source: str = POD,
        address: str = PEER,
        target: str | None = None,
        count: int = 1,
    ) -> None:
        self.directory = directory
        flow = FlowSettings(
            id=WIDE + 7,
            ssid=7,
            source="pod",
            source_address=source,
            destination="peer",
            destination_address=address,
            target_address=target,
            port=port,
            flow_class=flow_class,
        )
        settings = AgentSettings(
            agent="x",
            directory=directory,
            epoch_ns=0,
            interval_ns=INTERVAL_NS,
            live_answers=2,
            drain_ns=1_000_000_000,
            duration_ns_max=100_000_000_000,
            endpoints=(EndpointSettings(name="pod", address=source),),
            flows=tuple(replace(flow, id=flow.id + index) for index in range(count)),
        )
        skipped, connections = (GrowingTable(directory / f"x.{table}", table, {}) for table in ("skipped", "connection"))
        try:
            self.sender = TcpSender(settings, Bridge(0), skipped, connections, {})
        except BaseException:
            skipped.close()
            connections.close()
            raise

    def start(self) -> None:
        """Start; the first tick is the test's to send."""
        self.sender.start(self.sender.now_ns())
        self.sender.stop()

    def tick(self) -> None:
        self.sender._to_offer.extend(self.sender._flows)
        self.sender._offer(len(self.sender._to_offer))

    def pass_time(self, seconds: float) -> None:
        """Let the clock jump, and the sender look at it."""
        bridge = self.sender._bridge
        bridge._epoch_ns -= round(seconds * 1e9)
        bridge.renew()
        self.sender.collect()

    def wait(self, is_true: Callable[[], bool]) -> None:
        assert self.sender.descriptor is not None
        wait_until(is_true, self.sender.collect, self.sender.descriptor)

    @property
    def flow(self) -> Any:  # noqa: ANN401 - of either class, and looked into
        return self.sender._flows[0]

    @property
    def rows(self) -> Rows:
        return self.sender._table.rows[: self.sender.ticks]

    @property
    def connections(self) -> Rows:
        return read_record(self.directory / "x.connection")[1]

    @property
    def events(self) -> list[tuple[str, int]]:
        """What was recorded of connections, each with its number."""
        return [(ConnectionEvent(int(row["what"])).name, int(row["connection"])) for row in self.connections]

    def failures(self) -> list[int]:
        return [int(value) for value in self.rows["failure"]]

    def copies(self) -> list[int]:
        return [int(value) for value in self.rows["copies"]]


class Accepting:
    """An acceptor at which two flows end: 1 is `tcp-established`, 2 `tcp-connect`, both of the peer; 3 ends elsewhere."""

    def __init__(
        self,
        directory: Path,
        *,
        rewritten_sources: tuple[str, ...] = (),
        port: int | None = None,
        pod: str = POD,
        peer: str = PEER,
        stranger: str = STRANGER,
    ) -> None:
        self.pod = pod
        with socket.socket(family_of(pod).number) as free:
            free.bind((pod, 0))
            self.port = port or int(free.getsockname()[1])
        classes = {1: FlowClass.TCP_ESTABLISHED, 2: FlowClass.TCP_CONNECT, 3: FlowClass.TCP_CONNECT}
        flows = tuple(
            FlowSettings(
                id=WIDE + number,
                ssid=number,
                source="peer",
                source_address=peer,
                destination="elsewhere" if number == 3 else "pod",
                destination_address=stranger if number == 3 else pod,
                flow_class=flow_class,
                rewritten_sources=rewritten_sources,
            )
            for number, flow_class in classes.items()
        )
        settings = AgentSettings(
            agent="x",
            directory=directory,
            epoch_ns=0,
            interval_ns=INTERVAL_NS,
            drain_ns=1_000_000_000,
            duration_ns_max=100_000_000_000,
            endpoints=(EndpointSettings(name="pod", address=pod, port=self.port),),
            flows=flows,
        )
        self.log_path = directory / "x.reflector"
        log = GrowingTable(self.log_path, "reflector", {})
        try:
            self.acceptor = Acceptor(settings, Bridge(0), log)
        except BaseException:
            log.close()
            raise

    def connect(self, source: str = PEER) -> socket.socket:
        """Return a connection that was accepted, or at once closed again."""
        opened = socket.socket(family_of(source).number)
        opened.settimeout(WAIT_S)
        opened.bind((source, 0))
        opened.connect((self.pod, self.port))
        seen = self._seen()
        self.wait(lambda: self._seen() > seen)
        return opened

    def _seen(self) -> int:
        return sum(self.acceptor.counters[name] for name in ("accepted", "foreign", "rate_limited"))

    def wait(self, is_true: Callable[[], bool], *descriptors: int) -> None:
        wait_until(is_true, self.acceptor.step, self.acceptor.descriptor, *descriptors)

    def wait_no_connection(self) -> None:
        """Wait until every connection is gone."""
        self.wait(lambda: not self.acceptor._connections)

    def _heard(self) -> int:
        """Return how many octets were taken for messages, or for the beginnings of them."""
        begun = sum(len(connection.inbox) for connection in self.acceptor._connections.values())
        return 44 * self.acceptor.counters["probes"] + begun

    def give(self, opened: socket.socket, content: bytes) -> bytes:
        """Send this; return what came back once all of it was taken and answered, or the connection ended."""
        answered, heard, came, is_over = self.acceptor.counters["answered"], self._heard(), b"", False

        def turn() -> None:
            nonlocal came, is_over
            self.acceptor.step()
            if not select.select([opened], [], [], 0)[0]:
                return
            try:
                more = opened.recv(65_536)
            except ConnectionResetError:
                more = b""
            came, is_over = came + more, not more

        def is_done() -> bool:
            is_answered = len(came) == 44 * (self.acceptor.counters["answered"] - answered)
            return is_over or (is_answered and self._heard() == heard + len(content))

        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it was ended by what came before
            opened.sendall(content)
        wait_until(is_done, turn, opened.fileno(), self.acceptor.descriptor)
        return came

    def is_closed(self, opened: socket.socket, wait_s: float = 0.0) -> bool:
        """Return whether the far end closed it; if not yet, wait for it so long."""
        if not select.select([opened], [], [], wait_s)[0]:
            return False
        try:
            return opened.recv(1) == b""
        except ConnectionResetError:
            return True

    @property
    def counters(self) -> dict[str, int]:
        return {name: count for name, count in self.acceptor.counters.items() if count}

    @property
    def log(self) -> Rows:
        return read_record(self.log_path)[1]


def probe(seq: int, ssid: int = 1) -> bytes:
    return bytes(STAMPSessionSenderTestUnauthenticated(seq=seq, ssid=ssid, ts=3_990_000_000 + seq))
