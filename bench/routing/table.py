"""The report as text."""

from typing import Any

WIDTH = 17


def render(report: dict[str, Any]) -> str:
    """A table of methods per file, then ours in detail, then the same for what was left out."""
    lines = [f"split: {report['split']}"]
    for name, found in report["sets"].items():
        lines += ["", *_methods(name, found), *_detail(found)]
    for name, found in report.get("leave_one_out", {}).items():
        lines += ["", *_methods(f"{name}, leaving out each of {found['groups']} data sets or subjects", found)]
        lines.append(f"  calibration error {found['calibration_error']:.3f}, log loss {found['log_loss']:.3f}")
        lines.append(f"  share of the difficulty that holds for what was left out: {found['difficulty_kept']:.2f}")
    lines += ["", f"{report['seconds']} s"]
    return "\n".join(lines)


def _methods(name: str, found: dict[str, Any]) -> list[str]:
    best = found["best_single"]
    lines = [f"{name}: {found['rows']:,} rows; best single model {best['model']}, quality {best['quality']:.4f}"]
    lines.append(f"  {'method':{WIDTH}}     AIQ  over mixing   saved at 100 %, 99 %, 95 % of the best single model")
    for method, aiq in found["aiq"].items():
        gain = aiq - found["aiq"]["random_mixing"]
        saved = "  ".join(_share(value) for value in found["cost_saved"][method].values())
        lines.append(f"  {method:{WIDTH}}  {aiq:.4f}      {gain:+.4f}   {saved}")
    if "label_table" in found:
        aiq = found["label_table"]["aiq"]
        lines.append(f"  {'(label table)':{WIDTH}}  {aiq:.4f}      {aiq - found['aiq']['random_mixing']:+.4f}")
    if found["oracle_gap_share"] is not None:
        lines.append(f"  ours goes {found['oracle_gap_share']:.0%} of the way from random mixing to the oracle")
    return lines


def _detail(found: dict[str, Any]) -> list[str]:
    lines = [f"  calibration error {found['calibration_error']:.3f}, log loss {found['log_loss']:.3f}"]
    for policy, kept in found["promises"].items():
        low, high = kept["interval"]
        word = "kept" if kept["kept"] else "NOT KEPT"
        lines.append(
            f"  {policy:9} promise {kept['promise']:.2f}: {kept['quality']:.3f} [{low:.3f}, {high:.3f}] {word}, "
            f"cost {kept['cost']:.2f} of the best single model's, {kept['models']} models"
        )
    noise = ", ".join(f"{name} {share:.2f}" for name, share in found["unchanged_choices"].items())
    lines.append(f"  choices unchanged under noise: {noise}")
    speed = f"  CPU of a choice: P50 {found['us_p50']:.0f} us, P99 {found['us_p99']:.0f} us"
    if "minilm_us_p50" in found:
        speed += f"; one MiniLM embedding alone: P50 {found['minilm_us_p50']:,.0f} us"
    return [*lines, speed]


def _share(value: float | None) -> str:
    return "never" if value is None else f"{value:5.2f}"
