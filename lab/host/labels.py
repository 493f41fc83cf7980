"""The labels that mark the lab's own containers, networks and volumes."""

OWNER = "chaos-soak-lab.owner"
OWNER_VALUE = "lab"
STACK = "chaos-soak-lab.stack"
RUN = "chaos-soak-lab.run"
SERVICE = "com.docker.compose.service"


def owned(project: str) -> dict[str, str]:
    """The labels of everything that belongs to a stack."""
    return {OWNER: OWNER_VALUE, STACK: project}
