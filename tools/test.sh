#!/usr/bin/env bash
# Sets up everything and runs every test. Further arguments go to pytest, for example: bash tools/test.sh -m slow
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/environment.sh .venv-test "[test,ray,run_manager,nwb,io,docs]"
# Two at a time: most of a test is tracing, which takes one core.
python -m pytest -n 2 --dist loadfile "$@"
