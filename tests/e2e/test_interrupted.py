"""The lab is stopped, politely and not, by others and by itself, while a fault is in force."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
from docker.models.containers import Container

from lab.host.labels import RUN
from lab.model.verdict import Verdict
from lab.provision.images.image_specs import ImageUsed
from lab.provision.stack import stack
from tests.e2e.soaking import finding, lab, plan_of, soak_on, start_soak
from tests.e2e.stacks import ephemeral_stack

IN_FORCE_TIMEOUT_S = 300
HEALED_WITHIN_S = 2.0


def _events(runs: Path) -> list[dict[str, Any]]:
    journal = runs / "latest" / "journal.jsonl"
    if not journal.is_file():
        return []
    return [
        json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines() if line.endswith("}")
    ]


def _wait_for(runs: Path, kind: str, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + IN_FORCE_TIMEOUT_S
    while not any(event["kind"] == kind for event in _events(runs)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {kind} within {IN_FORCE_TIMEOUT_S} s"
        time.sleep(0.2)


def _toxics(spec: stack.StackSpec) -> list[object]:
    url = f"http://127.0.0.1:{spec.ports['toxiproxy']}/proxies/qdrant/toxics"
    return list(httpx.get(url, timeout=5).json())


@pytest.fixture
def soaking(real_stack: stack.StackSpec, runs: Path) -> Iterator["subprocess.Popen[str]"]:
    """A soak in a process of its own, caught while latency is in force."""
    process = start_soak(real_stack, "latency.yaml", runs)
    try:
        _wait_for(runs, "fault_in_force", process)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        lab("heal")


def test_after_kill_9_its_guardian_leaves_nothing(
    soaking: "subprocess.Popen[str]", client: docker.DockerClient, real_stack: stack.StackSpec, runs: Path
) -> None:
    assert _toxics(real_stack)
    beside = lab("heal")
    assert beside.stdout.startswith("live"), beside.stdout
    assert _toxics(real_stack), "heal beside a live run must touch nothing"
    run: dict[str, str | list[str] | bool] = {"label": f"{RUN}={(runs / 'latest').resolve().name}"}
    assert client.containers.list(filters=run), "its load"
    os.killpg(soaking.pid, signal.SIGKILL)
    soaking.wait(timeout=10)
    end = time.monotonic() + HEALED_WITHIN_S
    while left := [*_toxics(real_stack), *client.containers.list(all=True, filters=run)]:
        assert time.monotonic() < end, left
        time.sleep(0.02)
    assert lab("heal").stdout.strip() == "nothing to heal"
    judged = lab("judge", "latest", "--runs", str(runs))
    assert judged.returncode == 11, judged.stdout + judged.stderr
    report = json.loads((runs / "latest" / "report.json").read_text(encoding="utf-8"))
    assert "the guardian acted: fenced the run is dead" in finding(report, "integrity", "run")["reason"]


def test_ctrl_c_heals_judges_and_shows_the_gap(
    soaking: "subprocess.Popen[str]", real_stack: stack.StackSpec, runs: Path
) -> None:
    soaking.send_signal(signal.SIGINT)
    stdout, stderr = soaking.communicate(timeout=90)
    assert soaking.returncode == 11, stdout + stderr
    assert _toxics(real_stack) == []
    report = json.loads((runs / "latest" / "report.json").read_text(encoding="utf-8"))
    assert report["interrupted"] is True and report["gate"] == "inconclusive"
    assert report["gaps"], "what was not measured must be shown"


CAMPAIGN = """
name: NAME
why: something else happens while a fault is in force
duration: 120s
faults: [FAULT]
required: [integrity]
bounds: {latency_p95_ms: 1000}
"""


def _campaign(folder: Path, name: str, fault: str, more: str = "") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN.replace("NAME", name).replace("FAULT", fault) + more, encoding="utf-8")
    return str(path)


def test_a_target_that_stays_dark_ends_the_run_and_heals_within_a_second(
    client: docker.DockerClient, real_stack: stack.StackSpec, runs: Path, tmp_path: Path
) -> None:
    dark = _campaign(
        tmp_path, "dark", "{kind: kill, target: mcp, hold: 60s}", "abort_if: {canary_dark: 6s}\n"
    )
    outcome = soak_on(client, real_stack, plan_of(dark), runs)
    assert outcome.judgement.gate is Verdict.INCONCLUSIVE
    assert "canary dark for 6 s" in finding(outcome.report, "integrity", "run")["reason"]
    at_ms = {event["kind"]: event["at_ms"] for event in _events(runs)}
    assert at_ms["aborted"] - at_ms["fault_injected"] < 12_000
    assert at_ms["fault_healed"] - at_ms["aborted"] < 1000
    mcp = client.containers.get(f"{real_stack.project}-mcp-1")
    assert mcp.status == "running"


def _toxiproxy_of_somebody_else(client: docker.DockerClient, spec: stack.StackSpec) -> Container:
    """He removes the stack's Toxiproxy and runs one of his own: same name, same ports, a toxic of the same name."""
    old = client.containers.get(f"{spec.project}-toxiproxy-1")
    image, name = old.image, old.name
    assert image is not None
    old.remove(force=True)
    ports = {"8474/tcp": "toxiproxy", "8000/tcp": "mcp", "6333/tcp": "qdrant_link"}
    new = client.containers.run(
        image,
        ["-host", "0.0.0.0"],
        name=name,
        detach=True,
        network=spec.project,
        ports={inside: ("127.0.0.1", spec.ports[port]) for inside, port in ports.items()},
    )
    api = f"http://127.0.0.1:{spec.ports['toxiproxy']}"
    end = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"{api}/version", timeout=1)
            break
        except httpx.HTTPError:
            assert time.monotonic() < end
            time.sleep(0.05)
    proxy = {"name": "qdrant", "listen": "0.0.0.0:6333", "upstream": "qdrant:6333", "enabled": True}
    httpx.post(f"{api}/proxies", json=proxy).raise_for_status()
    toxic = {"name": "lab-latency-downstream", "type": "latency", "attributes": {"latency": 50}}
    httpx.post(f"{api}/proxies/qdrant/toxics", json=toxic).raise_for_status()
    return new


def test_a_container_that_somebody_replaced_is_left_alone_and_nothing_is_concluded(
    used_images: Mapping[str, ImageUsed], client: docker.DockerClient, runs: Path, tmp_path: Path
) -> None:
    plan = plan_of(_campaign(tmp_path, "replaced", "{kind: latency, target: qdrant, hold: 20s}"))
    made: list[Container] = []
    with ephemeral_stack(used_images) as spec:

        def meddle() -> None:
            while not any(event["kind"] == "fault_in_force" for event in _events(runs)):
                time.sleep(0.1)
            made.append(_toxiproxy_of_somebody_else(client, spec))

        meddler = threading.Thread(target=meddle, daemon=True)
        meddler.start()
        try:
            outcome = soak_on(client, spec, plan, runs)
            meddler.join(5)
            assert _toxics(spec), "the toxic of somebody else was removed"
        finally:
            for container in made:
                container.remove(force=True)
    assert outcome.judgement.verdict is outcome.judgement.gate is Verdict.INCONCLUSIVE
    assert "taken away by somebody else" in finding(outcome.report, "integrity", "run")["reason"]
    told = [event["kind"] for event in _events(runs)]
    assert told.count("heal_failed") == 1 and "fault_healed" not in told
    assert told[-1] == "run_ended", "the evidence is whole"
    assert "nothing to heal" in lab("heal").stdout
