"""A small world of ratings: tastes in two dimensions, as CSV or as MovieLens' own files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

USERS, ITEMS = 24, 30
FIRST = 1_000_000_000
"""Unix seconds of the first rating."""

Ratings = NDArray[np.int64]


def ratings(seed: int = 0, share: float = 0.6) -> Ratings:
    """user, item, rating, timestamp [n, 4]; ids start at 1, a user rates in one sitting."""
    random = np.random.default_rng(seed)
    taste, kind = random.normal(size=(USERS, 2)), random.normal(size=(ITEMS, 2))
    score = 3.2 + 0.4 * taste @ kind.T + random.normal(0, 1.0, ITEMS)
    user, item = np.nonzero(random.random((USERS, ITEMS)) < share)
    value = np.clip(np.round(score[user, item] + random.normal(0, 0.3, len(user))), 1, 5)
    time = FIRST + user * 90_000 + random.integers(0, 900, len(user))
    found = np.stack([user + 1, item + 1, value.astype(np.int64), time], axis=1)
    return random.permutation(found, axis=0)


def write_csv(folder: Path, rows: Ratings, tested: int = 60, *, side: bool = True) -> Path:
    """ratings_train.csv.gz, ratings_test.csv, and the side tables with one user and one item that nobody rated."""
    header = "user_id,item_id,rating,timestamp\n"
    lines = [",".join(map(str, row)) + "\n" for row in rows]
    with gzip.open(folder / "ratings_train.csv.gz", "wt") as stream:
        stream.write(header + "".join(lines[tested:]))
    (folder / "ratings_test.csv").write_text(header + "".join(lines[:tested]))
    if side:
        users = [f"{user},{20 + user % 30},{'MF'[user % 2]}\n" for user in range(1, USERS + 2)]
        items = [f"{item},Film {item},01-Jan-{1950 + item},{item % 2}\n" for item in range(1, ITEMS + 2)]
        (folder / "users.csv").write_text("user_id,age,gender\n" + "".join(users))
        (folder / "items.csv").write_text("item_id,title,release_date,genre_fun\n" + "".join(items))
    return folder


def write_public(folder: Path, rows: Ratings) -> Path:
    """u.data, u.user and u.item, as MovieLens-100K has them."""
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    users = [f"{user}|{20 + user}|{'MF'[user % 2]}|student|0{user:04d}\n" for user in range(1, USERS + 1)]
    flags = "|".join("01"[place == 3] for place in range(19))
    items = [f"{item}|Caf\xe9 {item}|01-Jan-1995||http://x/{item}|{flags}\n" for item in range(1, ITEMS + 1)]
    (folder / "u.user").write_bytes("".join(users).encode("latin-1"))
    (folder / "u.item").write_bytes("".join(items).encode("latin-1"))
    return folder
