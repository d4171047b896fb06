#!/bin/sh
# What `make` does, for those who have no make: the environment .venv, made from requirements-demo.lock.
#   scripts/setup.sh          make it, unless it is there and current
#   scripts/setup.sh demo     and write a report on the sample data
#   scripts/setup.sh lab      and open JupyterLab
#   scripts/setup.sh test     and run the tests
# PYTHON=/path/to/python says which Python to use.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."

say() { printf '%s\n' "$@"; }
stop() { say "$@" >&2; exit 1; }
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

what=${1:-}
case $what in
  '' | demo | lab | test) ;;
  *) say "setup.sh knows demo, lab and test, not $what." >&2; exit 2 ;;
esac

stamp=.venv/.made-from-lock
# The .venv of a copied folder would start the original.
if [ -f "$stamp" ] && [ -z "$(find requirements-demo.lock -newer "$stamp")" ] &&
  grep -qF "$(pwd -P)/.venv/" .venv/bin/workbench &&
  .venv/bin/workbench --version >/dev/null 2>&1; then
  say "The environment .venv is current."
else
  python=${PYTHON:-}
  if [ -n "$python" ]; then
    fits "$python" || stop "PYTHON is $python, which is no Python 3.11 or newer."
  else
    for name in python3.13 python3.12 python3.11 python3 python; do
      if fits "$name"; then python=$name; break; fi
    done
  fi
  [ -n "$python" ] || stop \
    "Python 3.11 or newer is needed, and none was found." \
    "  Debian, Ubuntu:  sudo apt install python3 python3-venv" \
    "  Fedora:          sudo dnf install python3" \
    "  macOS:           the installer from python.org, or brew install python@3.13" \
    "Then run this script again."
  # That of .venv itself is about to go; the one it was made with stays.
  base=$("$python" -c 'import os, sys
if os.path.exists(".venv") and os.path.samefile(sys.prefix, ".venv"): print(sys._base_executable)')
  python=${base:-$python}
  say "Making the environment .venv. This takes some minutes, 2 GB on the disk, and the network."
  rm -rf .venv
  "$python" -m venv .venv || stop \
    "The environment could not be made. On Debian and Ubuntu: sudo apt install python3-venv" \
    "Then run this script again."
  unfinished="The packages could not be installed; the lines above say why. Behind a proxy, set HTTPS_PROXY."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-demo.lock \
    || stop "$unfinished"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
    || stop "$unfinished"
  touch "$stamp"
  say "The environment .venv is ready."
fi

case $what in
  demo) exec .venv/bin/workbench run run_colors ;;
  lab) exec .venv/bin/workbench lab ;;
  test)
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
    exec .venv/bin/pytest
    ;;
esac
say "" "What next? In this folder, type one of these:" "" \
  "  .venv/bin/workbench run run_colors                     a report on the sample data" \
  "  .venv/bin/workbench extract demo --list-tables         what the sample data are" \
  "  scripts/setup.sh lab                                   JupyterLab with the notebooks" "" \
  "docs/quickstart.md explains them."
