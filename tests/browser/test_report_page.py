"""The report in a real browser: every figure loads, nothing sticks out sideways, on wide and on narrow screens."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hill_sim import Trial, simulate
from hill_sim.report import write_report_from

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]

# Written into a copy of the page; the page itself has no script.
PROBE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const width = document.documentElement.clientWidth;
  const inside = e => e.closest(".scroll") && e !== e.closest(".scroll");
  const beyond = e => e.getBoundingClientRect().right > width + 1;
  const out = [...document.querySelectorAll("body *")].filter(e => !inside(e) && beyond(e));
  const found = {
    width, scroll: document.documentElement.scrollWidth,
    out: out.map(e => e.tagName + "." + e.className),
    images: [...document.images].map(i => i.complete && i.naturalWidth > 0),
    fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
  };
  document.body.setAttribute("data-probe", btoa(JSON.stringify(found)));
});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    base = {"epochs": 4, "interactions": (1, 2), "view": {"per_class": 3}, "batch_size": 512}
    trials = [
        Trial(policy=policy, alpha=alpha, seed=seed, objective=objective, **base)  # type: ignore[arg-type]
        for policy in ("compactness", "merge_distinct", "hold", "ce_scaled", "ce_only")
        for alpha in (0.3, 0.7)
        for seed in range(2)
        for objective in ("hill", "paper")
    ]
    path = write_report_from(simulate(trials), folder, title="browser", question="Does the page stand in a browser?")
    probed = folder / "probed.html"
    probed.write_text(path.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    return probed


@pytest.mark.parametrize("width", [1400, 800])
def test_figures_load_and_nothing_sticks_out(page: Path, width: int, tmp_path: Path) -> None:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1200", "--virtual-time-budget=8000",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    match = re.search(r'data-probe="([^"]+)"', dom)
    assert match, "the probe did not run"
    found = json.loads(base64.b64decode(match[1]))
    assert found["width"] <= width
    assert found["scroll"] <= found["width"], f"sticking out: {found['out'][:5]}"
    assert found["out"] == []
    assert len(found["images"]) >= 6
    assert all(found["images"])
    assert found["fetched"] == []
