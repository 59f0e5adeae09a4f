#!/usr/bin/env bash
# Writes the four lock files from pyproject.toml: one resolution for every interpreter from 3.11 on and every platform, with
# hashes and without any registry's address. Needs `uv` on PATH, else it makes itself one in a temporary environment.
# Usage: tools/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v uv >/dev/null 2>&1; then
  own=$(mktemp -d)
  trap 'rm -rf "$own"' EXIT
  "${PYTHON:-python3}" -m venv "$own"
  "$own/bin/pip" install --quiet uv
  PATH="$own/bin:$PATH"
fi

compile() { # compile OUTPUT ARGUMENT...
  local output=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links --output-file "$output" "$@" >/dev/null
}

# What `make run` installs: the vendors' clients of the secret stores are large, and only who uses one needs it.
compile requirements.lock pyproject.toml --extra log --extra postgres --extra redis --extra secrets --extra terminal "$@"
compile requirements-build.lock --group build --constraints requirements.lock "$@"
compile requirements-dev.lock pyproject.toml --all-extras --group dev \
  --constraints requirements.lock --constraints requirements-build.lock "$@"
compile requirements-bench.lock pyproject.toml --group bench \
  --constraints requirements-dev.lock --constraints requirements-build.lock "$@"

if grep -nE '[a-z+]+://' requirements*.lock; then
  echo "lock.sh: a lock file names a place it was resolved from (above); it must not" >&2
  exit 1
fi
