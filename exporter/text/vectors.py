"""Vectors of tokens from the company they keep: what networks begin with in place of chance.

Positive pointwise mutual information of tokens near each other, and its strongest directions (Levy, Goldberg 2014:
what word2vec factors implicitly). Learned from the fit rows without their labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_NEAR = 5
"""Tokens on each side; one at distance d counts 1/d."""
_SMOOTHING = 0.75
"""Exponent of the context's frequency: rare contexts are not to dominate (Levy, Goldberg, Dagan 2015)."""


def token_vectors(ids: NDArray[np.int64], vocabulary: int, size: int, seed: int) -> NDArray[np.float32]:
    """float32 [vocabulary, size] of ids [m, L] (windows are rows too), unit variance over the tokens that occur.

    The directions are ordered by strength, so the first few are vectors of a smaller size. Tokens that do not occur,
    and padding, which is id 0, have zeros.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    near = csr_matrix((vocabulary, vocabulary))
    for distance in range(1, min(_NEAR, ids.shape[1] - 1) + 1):
        first, second = ids[:, :-distance].ravel(), ids[:, distance:].ravel()
        both = (first != 0) & (second != 0)
        counts = np.full(int(both.sum()), 1.0 / distance)
        near = near + csr_matrix((counts, (first[both], second[both])), shape=near.shape)
    near = near + near.T
    information = _positive(near)
    components = min(size, vocabulary - 1)
    left, strength, _ = randomized_svd(information, components, n_iter=4, random_state=seed)
    found = np.zeros((vocabulary, size), dtype=np.float32)
    found[:, :components] = left * np.sqrt(strength)
    occurs = np.asarray(near.sum(axis=1)).ravel() > 0
    found[~occurs] = 0.0
    if occurs.any():
        found /= max(float(found[occurs].std()), 1e-9)
    return found


def _positive(near: csr_matrix) -> csr_matrix:
    """max(0, log p(a, b) / (p(a) p(b))) of co-occurrence counts, sparse."""
    total = float(near.sum()) or 1.0
    rows = np.asarray(near.sum(axis=1)).ravel()
    contexts = rows**_SMOOTHING
    contexts /= max(contexts.sum(), 1e-9)
    entries = near.tocoo()
    expected = rows[entries.row] / total * contexts[entries.col]
    entries.data = np.maximum(np.log(entries.data / total / np.maximum(expected, 1e-30)), 0.0)
    found = entries.tocsr()
    found.eliminate_zeros()
    return found
