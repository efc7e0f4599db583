"""What the ensemble answers: rows from one .npy file, their fused probabilities into another."""

# mypy: disable-error-code="import-not-found"
# `fused` is the script beside this one.

from __future__ import annotations

import argparse

import numpy as np
from fused import Fused


def main() -> None:
    """Read, run, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("answers")
    parser.add_argument("files", nargs="+")
    given = parser.parse_args()
    np.save(given.answers, Fused(given.files)(np.load(given.rows)))


if __name__ == "__main__":
    main()
