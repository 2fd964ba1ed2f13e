#!/usr/bin/env bash
# Makes report.png, the README's picture: the top of a run's report, as Chromium shows it.
#
#   hill-sim sweep experiments/quickstart.yaml && docs/pictures/report.sh runs/quickstart
# HEIGHT (pixels, default 1610) says where to cut.
set -euo pipefail
run=${1:?usage: docs/pictures/report.sh RUN_FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
"$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
  --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$profile" \
  --window-size=1248,1800 --screenshot="$profile/whole.png" "file://$(realpath "$run")/report.html" 2>/dev/null
# From the heading to the end of the first figure; 256 colours are enough for it and keep it small.
"$here/../../.venv/bin/python" - "$profile/whole.png" "$here/report.png" "${HEIGHT:-1610}" <<'PYTHON'
import sys
from PIL import Image

height = int(sys.argv[3])
picture = Image.open(sys.argv[1]).convert("RGB").crop((0, 0, 1248, height))
picture.quantize(256, dither=Image.Dither.NONE).save(sys.argv[2], optimize=True)
PYTHON
echo "$here/report.png: $(stat -c %s "$here/report.png") bytes"
