#!/usr/bin/env bash
# Makes .venv, installs the pins, builds hill-sim into it. Quick when nothing has changed; mends what is broken.
#
#     requirements/install.sh base|dev
#
# Nothing is believed because it was done once: each run looks for every installed file (0.4 s). What was built is
# known by a stamp, written last. `PYTHON=...` chooses the interpreter that makes .venv, `UV=` (empty) keeps uv out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
level=${1:?base or dev}
pins=requirements/$level.txt
[ -f "$pins" ] || { echo "install.sh: no $pins" >&2; exit 2; }
venv=$PWD/.venv
python=$venv/bin/python
uv=${UV-$(command -v uv || true)}

exec 9<Makefile
if command -v flock >/dev/null; then flock 9; fi # two makes at once: the second waits, then finds nothing to do

stamp_of_build() {
    { echo "$venv ${HILL_SIM_BUILD-} ${HILL_SIM_CUDA_ARCHS-}"; "$python" -VV; cat requirements/base.txt pyproject.toml setup.py
      find csrc -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
    } | sha256sum | cut -d' ' -f1
}
runs() { [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
missing() { "$python" requirements/verify.py "$pins"; }
pip() { # pip install ARGS, through uv where it is present
    if [ -n "$uv" ]; then
        "$uv" pip install --quiet --python "$python" "$@"
    else
        "$python" -m pip install --quiet --disable-pip-version-check "$@"
    fi
}

make_venv() {
    local base=${PYTHON:-}
    if [ -z "$base" ]; then
        for base in python3.11 python3 python3.12 python3.13; do
            "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break || base=
        done
    fi
    [ -n "$base" ] || { echo "install.sh: no Python >= 3.11 found; PYTHON=/path/to/python make ..." >&2; exit 1; }
    echo "making .venv with $("$base" -V)"
    rm -rf .venv
    if [ -n "$uv" ]; then
        "$uv" venv --quiet --seed --python "$base" .venv
    else
        "$base" -m venv .venv || { echo "install.sh: $base has no venv (on Debian: apt-get install python3-venv)" >&2; exit 1; }
    fi
}

made_in=$(cat .venv/.made-in 2>/dev/null || echo "$venv")
if ! runs || [ "$made_in" != "$venv" ]; then # no interpreter, or a .venv moved here from elsewhere
    make_venv
fi
echo "$venv" >.venv/.made-in

if ! missing >/dev/null; then
    echo "installing $pins (torch alone is some 2 GB to fetch; minutes on a slow line)"
    if ! "$python" -m pip --version >/dev/null 2>&1; then # half-made: a .venv without a whole pip
        rm -rf .venv/lib/python*/site-packages/pip{,-*}
        "$python" -m ensurepip >/dev/null
    fi
    pip -r "$pins"
    broken=$(missing || true)
    if [ -n "$broken" ]; then # looks installed, is not whole
        echo "repairing: $(echo $broken)"
        # Not --force-reinstall: that uninstalls first, which fails where an interrupted run left no RECORD.
        "$python" -m pip install --quiet --disable-pip-version-check --ignore-installed --no-deps $broken
    fi
    broken=$(missing || true)
    if [ -n "$broken" ] || ! "$python" -c 'import torch, torchvision, numba, pyarrow, sklearn'; then
        echo "install.sh: .venv is still not whole ($(echo $broken)); remove it and run make again" >&2
        exit 1
    fi
fi

built=.venv/.stamp-build
if [ "$(cat "$built" 2>/dev/null)" != "$(stamp_of_build)" ] ||
    ! (cd / && "$python" -c 'import hill_sim, importlib.metadata as m; m.version("hill-sim")' 2>/dev/null) ||
    ! [ -x .venv/bin/hill-sim ]; then
    rm -f "$built"
    echo "building hill-sim"
    PYTHONWARNINGS=ignore pip --no-build-isolation --no-deps -e .
    (cd / && "$python" -c 'import hill_sim')
    stamp_of_build >"$built"
fi
