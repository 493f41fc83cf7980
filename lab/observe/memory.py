"""Reads the memory of containers and processes, what the lab itself and its load use, and how busy the machine is."""

from collections.abc import Callable

import psutil

from lab.errors import FaultError, WorldError
from lab.host.cgroups.cgroups import cgroup_dir, read_anonymous_bytes, read_usage
from lab.host.machine import kernel
from lab.host.network.namespaces import belongs
from lab.model.samples import HOST_CPU_IDLE, HOST_CPU_WAITING, LOAD_CPU, HostReading, Memory
from lab.ports import Clock, Containers, Sink

LOAD = "load"


class MemorySampler:
    """One call to `read` reads everything once: anonymous memory of the cgroups, RSS and PSS of processes, CPU seconds.

    A container that is dead at that moment (killed on purpose, say) has no memory and gives no row. Source of RSS and
    PSS: proc_pid_smaps(5), through psutil.
    """

    def __init__(
        self,
        services: tuple[str, ...],
        containers: Containers,
        clock: Clock,
        sink: Sink,
        load_cpu_s: Callable[[], float],
    ) -> None:
        self._load_cpu_s = load_cpu_s
        self._services, self._containers, self._clock, self._sink = services, containers, clock, sink
        self._lab = psutil.Process()
        self.reads_failed: dict[str, int] = dict.fromkeys((*services, LOAD), 0)

    def read(self) -> None:
        """Read everything once and give the rows to the sink."""
        rows: list[Memory | HostReading] = []
        for service in self._services:
            try:
                rows += self._service(service)
            except (FaultError, WorldError, OSError, psutil.Error):
                # The container may die between the check that it runs and the reading. Then the row is missing.
                self.reads_failed[service] += 1
        rows += self._load()
        rows += self._lab_itself()
        self._sink.add(rows)

    def _service(self, service: str) -> list[Memory | HostReading]:
        state = self._containers.state(service)
        pid = state.pid
        # The number may be that of another process: of one that came after the container's death, or, where the engine
        # is not on this machine, of any process here.
        if pid == 0 or not belongs(pid, state.id):
            self.reads_failed[service] += 1
            return []
        at_ms = self._clock.now_ms()
        anonymous = read_anonymous_bytes(cgroup_dir(pid, "memory"))
        rows: list[Memory | HostReading] = [Memory(at_ms, service, None, "anon_bytes", anonymous)]
        for process in self._processes(pid, state.id):
            name, info, started = process.name(), process.memory_full_info(), process.create_time()
            for metric, read in (("rss_bytes", info.rss), ("pss_bytes", info.pss)):
                rows.append(Memory(at_ms, service, name, metric, read, process.pid, started))
        usage = read_usage(cgroup_dir(pid, "cpu"), cgroup_dir(pid, "cpuacct"), at_ms)
        rows.append(HostReading(at_ms, f"{service}_cpu_s", usage.usage_us / 1e6))
        return rows

    def _load(self) -> list[HostReading]:
        """What the load generator used: without it, the lab's own load would count as a neighbour on the machine."""
        try:
            used_s = self._load_cpu_s()
        except (FaultError, WorldError, OSError):
            self.reads_failed[LOAD] += 1
            return []
        return [HostReading(self._clock.now_ms(), LOAD_CPU, used_s)]

    def _processes(self, pid: int, container_id: str) -> list[psutil.Process]:
        """The first process of a container and its descendants, as far as they are in the container's cgroup."""
        first = psutil.Process(pid)
        every = (first, *first.children(recursive=True))
        return [process for process in every if belongs(process.pid, container_id)]

    def _lab_itself(self) -> list[HostReading]:
        at_ms = self._clock.now_ms()
        times = self._lab.cpu_times()
        machine, cpu, waiting_s = psutil.virtual_memory(), psutil.cpu_times(), kernel.cpu_waiting_s()
        pressure = [] if waiting_s is None else [HostReading(at_ms, HOST_CPU_WAITING, waiting_s)]
        return [
            *pressure,
            HostReading(at_ms, "lab_cpu_s", times.user + times.system),
            HostReading(at_ms, "lab_rss_bytes", float(self._lab.memory_info().rss)),
            HostReading(at_ms, "host_available_bytes", float(machine.available)),
            HostReading(at_ms, HOST_CPU_IDLE, cpu.idle + cpu.iowait),
        ]
