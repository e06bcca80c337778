# Makes a virtual environment with this package in it and puts it on PATH. Sourced by demo.sh and test.sh.
# usage: . tools/environment.sh FOLDER EXTRAS
set -euo pipefail

venv=$1
extras=$2
python=${PYTHON:-python3}

if [ ! -x "$venv/bin/python" ]; then
  echo "Making a virtual environment in $venv"
  if ! "$python" -m venv "$venv" 2>/dev/null; then
    rm -rf "$venv"
    # Debian ships venv apart from Python; without the right to install it, virtualenv from PyPI does the same.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; then
      "$python" -m venv "$venv"
    else
      "$python" -m pip install --quiet --target "$venv.bootstrap" virtualenv
      PYTHONPATH="$venv.bootstrap" "$python" -m virtualenv --quiet "$venv"
      rm -rf "$venv.bootstrap"
    fi
  fi
fi

# Installed anew only when what is required has changed.
stamp="$venv/installed"
wanted=$(cat setup.py pyproject.toml | cksum)" $extras $PWD"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
  echo "Installing the package and what it needs (a few minutes the first time)"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".$extras"
  echo "$wanted" > "$stamp"
fi
export PATH="$PWD/$venv/bin:$PATH"
export VIRTUAL_ENV="$PWD/$venv"
