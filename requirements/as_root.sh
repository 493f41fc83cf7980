#!/bin/sh
# Prints "sudo -E" when the lab must run as root to reach or to install Docker, and sudo can do that; else nothing.
[ "$(id -u)" = 0 ] && exit 0
[ -n "${DOCKER_HOST:-}" ] && exit 0
command -v sudo >/dev/null 2>&1 || exit 0
command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1 && exit 0
if sudo -n true 2>/dev/null || [ -t 2 ]; then
    [ -n "${LAB_SUDO_TOLD:-}" ] || echo "Docker is closed to this user or absent: running the lab with sudo" >&2
    echo "sudo -E"
fi
