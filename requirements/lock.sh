#!/bin/sh
# Locks every requirements file again with hashes and without addresses. Needs pip-tools, and Python 3.11, whose
# versions the images take as well.
set -eu
compile() {
    python3 -m piptools compile -q --upgrade --generate-hashes --no-header --strip-extras --allow-unsafe \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o "$1.txt" "$1.in"
}
cd requirements
for name in runtime dev go; do compile "$name"; done
cd ../compose/images/k6
compile requirements
cd ../../targets/reference
compile requirements
