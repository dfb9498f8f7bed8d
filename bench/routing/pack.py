"""A fit -> the arrays of a weights file, small enough to ship: the axes in 8 bits, everything else in 32."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.routing.fit import Regime, Router

LEVELS = 127


def pack(router: Router, ids: Mapping[str, str], trust: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Arrays as `routing.selection.weights` reads them.

    `ids`: name of a model in the outcome files -> its id in the catalogue; a model without one is left out.
    `trust`: share of the difficulty to keep, by regime.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, regime in router.regimes.items():
        models, own = _own_effects(router, name, ids)
        arrays |= {f"{name}/{key}": array for key, array in _pack_regime(regime).items()}
        arrays[f"{name}/trust"] = np.float32(trust.get(name, 1.0)).reshape(())
        arrays[f"{name}/models"] = np.array(models, "U64")
        arrays[f"{name}/own"] = own.astype(np.float32)
    return arrays


def save(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a weights file; the same arrays make the same bytes."""
    np.savez_compressed(path, **dict(sorted(arrays.items())))  # type: ignore[arg-type]


def _pack_regime(regime: Regime) -> dict[str, np.ndarray]:
    axes = regime.axes * regime.weights[:, None]
    scale = np.maximum(np.abs(axes).max(0) / LEVELS, 1e-12)
    return {
        "mean": regime.mean.astype(np.float32),
        "deviation": regime.deviation.astype(np.float32),
        "axes": np.round(axes / scale).astype(np.int8),
        "axes_scale": scale.astype(np.float32),
        "squared_weights": (regime.weights**2).astype(np.float16),
        "to_kinds": regime.to_kinds.astype(np.float32),
        "kinds": np.array(regime.kinds, "U64"),
        "shared": regime.shared.astype(np.float32),
        "shared_mean": np.float32(regime.shared_mean).reshape(()),
    }


def _own_effects(router: Router, regime: str, ids: Mapping[str, str]) -> tuple[list[str], np.ndarray]:
    """Ids and [d + K, models]: what each model's weights are beyond the shared ones, about its file's mean request."""
    models: list[str] = []
    columns: list[np.ndarray] = []
    for (_, name), head in router.heads.items():
        if name == regime:
            own = head.weights - router.regimes[regime].shared[:, None]
            own = own - own.mean(1, keepdims=True)
            for i, model in enumerate(head.models):
                if model in ids:
                    models.append(ids[model])
                    columns.append(own[:, i])
    width = len(router.regimes[regime].shared)
    return models, np.column_stack(columns) if columns else np.zeros((width, 0))
