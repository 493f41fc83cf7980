"""Netfilter chains and queueing disciplines inside a network namespace, through the host's own programs."""

import os
import subprocess
from collections.abc import Sequence

from lab.errors import FaultError
from lab.host.system_errors import as_fault_error
from lab.ports.netns import Rules

TIMEOUT_S = 10.0
# The handle of the lab's own queueing discipline; it is unlikely that anything else uses it.
HANDLE = "1ab:"
# The queueing disciplines that a device has by default.
PLAIN = ("noqueue", "pfifo_fast", "fq_codel", "mq")


def run(namespace: int, *command: str, text: str = "") -> str:
    """Run a program inside a namespace and return its output; raises FaultError with its error message."""
    entered = ["nsenter", f"--net=/proc/self/fd/{namespace}", *command]
    command_line = " ".join(command)
    with as_fault_error(
        f"{command[0]} could not be run inside a network namespace",
        where=command_line,
        try_="`lab doctor` says what is missing",
    ):
        done = subprocess.run(
            entered,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            pass_fds=(namespace,),
            check=False,
        )
    if done.returncode != 0:
        raise FaultError(
            f"{command[0]} refuses",
            where=command_line,
            last_state=f"exit {done.returncode}: {done.stderr.strip()}",
            try_="`lab doctor` says what this kernel and machine have",
        )
    return done.stdout


def add_chain(namespace: int, rules: Rules) -> None:
    """Add the chain, its rules and its jumps in one transaction: either all or none."""
    jumps = [f"-I {jump} -j {rules.chain}" for jump in rules.jumps]
    lines = [f"-A {rules.chain} {line}" for line in rules.lines]
    _restore(namespace, rules.table, [f":{rules.chain} - [0:0]", *lines, *jumps])


def remove_chain(namespace: int, table: str, chain: str) -> bool:
    """Remove a chain and every jump to it; False if there was none."""
    saved = run(namespace, "iptables-save", "-t", table).splitlines()
    if not any(line.startswith(f":{chain} ") for line in saved):
        return False
    jumps = [f"-D {line[3:]}" for line in saved if line.endswith(f" -j {chain}") and line.startswith("-A ")]
    _restore(namespace, table, [*jumps, f"-F {chain}", f"-X {chain}"])
    left = run(namespace, "iptables-save", "-t", table)
    if chain in left:
        raise FaultError(
            f"the chain {chain} is still there after its removal",
            where=f"table {table}",
            try_="`lab heal` again; `lab down && lab up` makes the network anew",
        )
    return True


def _restore(namespace: int, table: str, lines: Sequence[str]) -> None:
    text = "\n".join([f"*{table}", *lines, "COMMIT", ""])
    run(namespace, "iptables-restore", "--noflush", "--wait", "5", text=text)


def packets(namespace: int, prefix: str) -> int:
    """The number of packets that matched a final rule, in all chains whose name begins with `prefix`."""
    total = 0
    for line in run(namespace, "iptables-save", "-c").splitlines():
        counted, _, rule = line.partition("] -A ")
        if rule.startswith(prefix) and "-j RETURN" not in rule:
            packets_of_rule = counted.removeprefix("[").partition(":")[0]
            total += int(packets_of_rule) if packets_of_rule.isdigit() else 0
    return total


def qdisc_kind(namespace: int, device: str) -> tuple[str, str]:
    """The kind and the handle of a device's root queueing discipline."""
    for line in run(namespace, "tc", "qdisc", "show", "dev", device).splitlines():
        words = line.split()
        if "root" in words and len(words) > 2:
            return words[1], words[2]
    return "noqueue", "0:"


def add_qdisc(namespace: int, device: str, kind: str, options: Sequence[str]) -> None:
    """Add the lab's root queueing discipline to a device."""
    run(namespace, "tc", "qdisc", "add", "dev", device, "root", "handle", HANDLE, kind, *options)


def remove_qdisc(namespace: int, device: str, kind: str) -> bool:
    """Remove the lab's queueing discipline; False if the device has another one or none."""
    if qdisc_kind(namespace, device) != (kind, HANDLE):
        return False
    run(namespace, "tc", "qdisc", "del", "dev", device, "root", "handle", HANDLE)
    if qdisc_kind(namespace, device) == (kind, HANDLE):
        raise FaultError(
            f"the {kind} qdisc of {device} is still there after its removal",
            where=device,
            try_="`lab heal` again; `lab down && lab up` makes the network anew",
        )
    return True


def inode(namespace: int) -> int:
    """The inode of a namespace, which identifies it."""
    return os.fstat(namespace).st_ino
