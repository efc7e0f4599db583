"""Logistic regression on TF-IDF of tokens and of hashed pairs of them: fitted, and answered in the graph."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.sparse import csr_matrix

from exporter.data.dataset import Array, Rows
from exporter.members.base import Setting, Trained
from exporter.text.families.linear import Linear
from exporter.text.families.training import reading_of
from exporter.text.networks.bag import BagNetwork, Features
from exporter.text.networks.member import TextMember

_BATCH_ROWS = 256


def train_linear(spec: Linear, rows: Rows, setting: Setting) -> Trained:
    """A member with logits. Raises TrainingError."""
    reading = reading_of(setting, spec.tokens)
    features = Features(reading.vocabulary, spec.buckets, reading.overlap)
    counts = counted(features, rows.inputs[spec.tokens])
    idf = inverse_frequencies(spec, counts)
    coefficients, intercept = _coefficients(spec, weighted(counts, idf), rows.target, setting)
    tensors = [torch.from_numpy(array.astype(np.float32)) for array in (idf, coefficients, intercept)]
    return TextMember(BagNetwork(features, *tensors).eval(), setting, spec.tokens)


def inverse_frequencies(spec: Linear, counts: csr_matrix) -> Array:
    """float64 [F]: 1 + ln((1 + rows) / (1 + rows with it)); 0 for what is in too few of them, and for feature 0."""
    present = np.bincount(counts.indices, minlength=counts.shape[1])
    idf: Array = 1.0 + np.log((1.0 + counts.shape[0]) / (1.0 + present))
    idf[present < spec.least_rows] = 0.0
    idf[0] = 0.0
    return idf


def _coefficients(spec: Linear, matrix: csr_matrix, target: Array, setting: Setting) -> tuple[Array, Array]:
    """float64 [F, C] and [C]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=spec.strength, max_iter=spec.most_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `most_iterations` is a bound that may be met
        model.fit(matrix, target)
    coefficients = np.zeros((matrix.shape[1], setting.columns))
    intercept = np.full(setting.columns, -30.0)  # of classes that the rows do not have
    if len(model.classes_) == 2:  # one row of coefficients, for the second class
        coefficients[:, model.classes_] = np.concatenate([-model.coef_, model.coef_]).T / 2
        intercept[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        coefficients[:, model.classes_], intercept[model.classes_] = model.coef_.T, model.intercept_
    return coefficients, intercept


def counted(features: Features, ids: Array) -> csr_matrix:
    """float64 [n, F]: how often each feature is in each row; feature 0 is none."""
    rows, columns = [], []
    for start in range(0, len(ids), _BATCH_ROWS):
        numbers = features(torch.from_numpy(ids[start : start + _BATCH_ROWS])).numpy()
        row, place = np.nonzero(numbers)
        rows.append(row + start)
        columns.append(numbers[row, place])
    row, column = np.concatenate(rows), np.concatenate(columns)
    found = csr_matrix((np.ones(len(row)), (row, column)), shape=(len(ids), features.count))
    found.sum_duplicates()
    return found


def weighted(counts: csr_matrix, idf: Array) -> csr_matrix:
    """Rows of (1 + ln tf) × idf, divided by their length."""
    data = (1.0 + np.log(counts.data)) * idf[counts.indices]
    found = csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)
    length = np.sqrt(np.asarray(found.multiply(found).sum(axis=1))).ravel()
    found.data /= np.repeat(np.maximum(length, 1e-12), np.diff(found.indptr))
    return found
