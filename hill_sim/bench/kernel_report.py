"""The kernel benchmark as text and as a chart: speed against the best eager form, losses as plainly as wins."""

from pathlib import Path

import pandas as pd

CASE = ["loss", "replicas", "batch", "coordinates", "classes", "regime"]
OURS = ("cuda", "cpp", "numba")


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """One row a case, provider and mode of ours, with how many times faster it is (minimum over minimum) than each
    baseline:
    `eager` (the fastest form), `compile`, `expert` and, of the others, `numba`. A value below 1 is a loss."""
    rows = []
    for key, case in table.groupby(CASE, sort=False):
        fastest = case.groupby(["provider", "mode"]).min_us.min()
        for (provider, mode), own in fastest.items():
            if provider not in OURS:
                continue
            through = "value" if mode == "value" else "autograd"  # the only way that eager code has to a gradient
            eager = [t for (p, m), t in fastest.items() if p.startswith("eager:") and m == through]
            baselines = {
                "eager": min(eager, default=float("nan")),
                "compile": fastest.get(("compile", through), float("nan")),
                "expert": fastest.get(("expert", "value_and_grad"), float("nan")) if mode != "value" else float("nan"),
                "numba": fastest.get(("numba", mode), float("nan")) if provider != "numba" else float("nan"),
            }
            row = dict(zip(CASE, key, strict=True)) | {"provider": provider, "mode": mode, "min_us": own}
            rows.append(row | {name: time / own for name, time in baselines.items()})
    return pd.DataFrame(rows)


def label(row: pd.Series) -> str:
    size = f"{row.replicas}x{row.batch}" if row.replicas > 1 else f"{row.batch}"
    return f"{row.loss} {size} D={row.coordinates} {row.regime}"


def summary(case: pd.DataFrame) -> str:
    """The lines of one case: our times, and "x times faster than ..." for each baseline; "SLOWER" where it is."""
    lines = [label(case.iloc[0])]
    for _, row in ratios(case).iterrows():
        parts = []
        for name in ("eager", "compile", "expert", "numba"):
            if pd.notna(row[name]):
                parts.append(f"{name} {row[name]:.3g}x{' SLOWER' if row[name] < 1 else ''}")
        own = case[(case.provider == row.provider) & (case["mode"] == row["mode"])].iloc[0]
        speed = ""
        if row.loss == "pair_separation":
            pairs = row.replicas * row.batch * (row.batch - 1) / 2
            speed = f"  {pairs / row.min_us / 1e3:5.2f} Gpair/s"
        memory = f"  peak {own.peak_mb:.1f} MB" if own.peak_mb >= 1 else ""
        lines.append(f"  {row.provider:6}{row['mode']:15}{row.min_us:11.2f} us   {', '.join(parts)}{speed}{memory}")
    return "\n".join(lines)


def draw(table: pd.DataFrame, path: Path) -> None:
    """How many times faster than the best eager form, through autograd, a dot a case and provider, on a logarithmic
    axis."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    shown = []
    for _, case in table.groupby(CASE, sort=False):
        through = case[case["mode"] == "autograd"]
        eager = through[through.provider.str.startswith("eager:")].min_us.min()
        for provider, mode in [*((p, "autograd") for p in (*OURS, "compile")), *((p, "value_and_grad") for p in OURS)]:
            own = case[(case.provider == provider) & (case["mode"] == mode)].min_us.min()
            if pd.notna(own) and pd.notna(eager):
                name = f"{provider}, autograd" if mode == "autograd" else f"{provider}, value and gradient"
                shown.append({"case": label(case.iloc[0]), "provider": name, "faster": eager / own})
        expert = case[case.provider == "expert"].min_us.min()
        if pd.notna(eager) and pd.notna(expert):
            shown.append({"case": label(case.iloc[0]), "provider": "expert eager", "faster": eager / expert})
    frame = pd.DataFrame(shown)
    sns.set_theme(style="whitegrid", context="notebook")
    figure, axis = plt.subplots(figsize=(10, 1.5 + 0.38 * frame.case.nunique()))
    sns.stripplot(frame, y="case", x="faster", hue="provider", size=8, jitter=False, palette="colorblind", ax=axis)
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=1)
    ticks = [
        t for t in (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000) if frame.faster.min() / 2 <= t <= frame.faster.max() * 2
    ]
    axis.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axis.set(xlabel="times faster than the best eager PyTorch form (left of 1: slower)", ylabel="")
    first = table.iloc[0]
    axis.set_title(
        f"Loss kernels, {first['dtype']}, {first.threads} thread, {first.device}, torch {first.torch}", loc="left"
    )
    sns.move_legend(axis, "upper left", bbox_to_anchor=(1.01, 1), title=None)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)
