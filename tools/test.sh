#!/usr/bin/env bash
# Sets up everything and runs every test. Further arguments go to pytest, for example: bash tools/test.sh -m slow
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/environment.sh .venv-test "[test,ray,run_manager,nwb,io,docs]"

status=0
run() { # two at a time: most of a test is tracing, which takes one core
  python -m pytest -n 2 --dist loadfile "$@" || { [ $? = 5 ] || status=1; } # 5: none chosen
}
for argument in "$@"; do
  if [ -e "${argument%%::*}" ]; then
    run "$@"
    exit $status
  fi
done
# TensorFlow keeps some 45 MB of each model that was traced: rooms with many models have processes of their own.
rooms=(tests/model tests/training tests/autolfads tests/program)
for room in "${rooms[@]}"; do run "$room" "$@"; done
run tests "${rooms[@]/#/--ignore=}" "$@"
exit $status
