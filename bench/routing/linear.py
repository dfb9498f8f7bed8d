"""The small linear algebra of the fit: TF-IDF weights, ridge by conjugate gradients, multinomial regression."""

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    return 1 / (1 + np.exp(-logits))


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Logits of probabilities inside (0, 1)."""
    return np.log(probabilities / (1 - probabilities))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Each row's shares."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def inverse_document_frequency(rows: sp.csr_matrix, least: int = 2) -> np.ndarray:
    """Weight of every table row; 0 for what fewer than `least` texts have."""
    texts = np.asarray((rows > 0).sum(0)).ravel()
    weights = np.log((1 + rows.shape[0]) / (1 + texts)) + 1
    weights[texts < least] = 0
    return weights


def weigh(rows: sp.csr_matrix, weights: np.ndarray) -> sp.csr_matrix:
    """TF-IDF: weighted rows of length 1."""
    weighted = rows @ sp.diags(weights)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.maximum(length, 1e-9)) @ weighted)


def ridge(features: sp.csr_matrix, targets: np.ndarray, penalty: float, iterations: int = 40) -> np.ndarray:
    """B of (X'X + penalty) B = X'T for many targets at once, by conjugate gradients in the dual."""
    found = np.zeros_like(targets)
    residual = targets.copy()
    direction = residual.copy()
    squares = (residual * residual).sum(0)
    enough = 1e-6 * squares
    transposed = features.T.tocsr()
    for _ in range(iterations):
        image = features @ (transposed @ direction) + penalty * direction
        step = squares / np.maximum((direction * image).sum(0), 1e-30)
        found += step * direction
        residual -= step * image
        fresh = (residual * residual).sum(0)
        if (fresh < enough).all():
            break
        direction = residual + (fresh / np.maximum(squares, 1e-30)) * direction
        squares = fresh
    return transposed @ found


def multinomial(
    features: np.ndarray, labels: np.ndarray, classes: int, penalty: float, start: np.ndarray | None = None
) -> np.ndarray:
    """Penalised multinomial regression, [features, classes]; column 0 of `features` is the constant.

    A `start` is near the answer, as that of another fold is, so that few steps do.
    """
    n, width = features.shape
    shares = np.zeros((n, classes))
    shares[np.arange(n), labels] = 1
    penalties = np.full((width, 1), penalty)
    penalties[0] = 1e-3

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(width, classes)
        expected = softmax(features @ weights)
        of_label = np.log(np.maximum(expected[np.arange(n), labels], 1e-12))
        slope = features.T @ (expected - shares) + penalties * weights
        return float(-of_label.sum() + 0.5 * (penalties * weights * weights).sum()), slope.ravel()

    first = np.zeros(width * classes) if start is None else start.ravel()
    options = {"maxiter": 120 if start is None else 30}
    return minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x.reshape(width, classes)
