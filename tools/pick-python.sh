#!/bin/sh
# Prints the interpreter to build the environment with: $PYTHON when given, else the newest of 3.13, 3.12, 3.11 and python3
# that really starts (a version manager's shim may not) and is 3.11 or later. Says what it saw when there is none.
version() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
builds() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }

seen=
for python in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
  found=$(version "$python")
  if [ -z "$found" ]; then
    [ -z "$PYTHON" ] || seen="$seen  $python does not start\n"
  elif ! fits "$python"; then
    seen="$seen  $python is $found\n"
  elif ! builds "$python"; then
    seen="$seen  $python is $found, but lacks venv or ensurepip (on Debian and Ubuntu: apt install python3-venv)\n"
  else
    echo "$python"
    exit 0
  fi
done

{
  echo "roadworthy needs Python 3.11 or later to build its environment."
  if [ -n "$seen" ]; then printf "Found:\n$seen"; else echo "Found no Python 3 on PATH."; fi
  echo "Install one, or name one: make PYTHON=/path/to/python3.12 ..."
} >&2
exit 1
