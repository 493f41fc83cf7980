#!/bin/sh
# Makes .venv from requirements/$1.txt (runtime or dev), every package checked by hash, and installs the command
# .venv/bin/lab. Does nothing when all of it is up to date. Called from the checkout's top folder. Exit 12: this machine
# lacks something, and what to try is said.
set -eu
lock="requirements/$1.txt"

fail() {
    printf 'setup: %s\n  try: %s\n' "$1" "$2" >&2
    exit 12
}

new_enough() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 or newer" "unset PYTHON, or name a newer one"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    seen=$(python3 --version 2>&1 || true)
    fail "the lab needs Python 3.11 or newer; found: $seen" \
        "install a newer Python (Debian 12 and Ubuntu 24.04 have one) and set PYTHON=python3.11"
}

# Debian and Ubuntu ship venv's heart in a package of its own.
install_venv() {
    package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    command -v apt-get >/dev/null 2>&1 || fail "$1 cannot make virtual environments" "install its venv module"
    root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "$package is missing, and only root may install it" "apt-get install $package"
        root="sudo"
    fi
    echo "setup: installing $package (this Python cannot make virtual environments without it)" >&2
    $root apt-get update -q >/dev/null || true
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" >/dev/null ||
        fail "$package could not be installed" "apt-get install $package"
}

make_venv() {
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv "$python"
    rm -rf .venv
    "$python" -m venv .venv || { rm -rf .venv; fail "no virtual environment could be made in $PWD" "look at the lines above"; }
}

# Heartbeats, for pip is silent for half a minute.
with_heartbeat() {
    ( seconds=0; while sleep 15 >/dev/null 2>&1; do seconds=$((seconds + 15)); echo "setup: $seconds s so far" >&2; done ) &
    beats=$!
    status=0
    "$@" || status=$?
    kill "$beats" 2>/dev/null || true
    wait "$beats" 2>/dev/null || true
    return "$status"
}

install_packages() {
    hash=$(sha256sum "$lock" | cut -c1-16)
    stamp=".venv/.lab-$1-$hash"
    [ -e "$stamp" ] && return
    # What development needs includes what running needs.
    [ "$1" = runtime ] && [ -e ".venv/.lab-dev-$(sha256sum requirements/dev.txt | cut -c1-16)" ] && return
    echo "setup: installing $(grep -c '^[a-z].*==' "$lock") Python packages into .venv (about half a minute)" >&2
    with_heartbeat .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock" ||
        fail "the Python packages of $lock could not be installed" "look at pip's lines above; is the package index in reach?"
    : >"$stamp"
}

# Installs the checkout itself, editable, for the command .venv/bin/lab. Needs no network: the build backend is one of
# the locked packages. The command names this folder, so a checkout that was moved gets it again.
install_lab() {
    hash=$({ pwd -P; cat pyproject.toml; } | sha256sum | cut -c1-16)
    stamp=".venv/.lab-command-$hash"
    [ -e "$stamp" ] && [ -x .venv/bin/lab ] && return
    rm -f .venv/.lab-command-*
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -e . ||
        fail "the command .venv/bin/lab could not be installed" "look at pip's lines above; \`make clean setup\` starts anew"
    : >"$stamp"
}

main() {
    .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv
    install_packages "$1"
    install_lab
}

main "$1"
