"""Ratings read from CSV and from MovieLens' own files; what is wrong with them is named by file and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exporter.errors import DataError
from exporter.recipe.sources import Movielens, clean
from tests.exporter.ratings.samples import ITEMS, USERS, ratings, write_csv, write_public


def test_csv_has_the_test_part_and_side_features(tmp_path: Path) -> None:
    rows = ratings()
    data = Movielens().load(write_csv(tmp_path, rows))
    assert len(data.rows) == len(rows)
    assert data.task == "regression"
    assert int((data.rows.part == 1).sum()) == 60
    tested = {tuple(row[:2]) for row in rows[:60]}
    test = data.rows.take(np.flatnonzero(data.rows.part == 1))
    assert set(zip(test.inputs["user"], test.inputs["item"], strict=True)) == tested
    assert data.context["user_ids"].tolist() == list(range(1, USERS + 2))
    assert data.context["user_features"].shape == (USERS + 1, 3)  # age, two genders
    assert data.context["item_features"].shape == (ITEMS + 1, 2)  # year, genre; titles are no feature
    assert data.context["item_features"][:, 0].tolist() == pytest.approx(np.linspace(0, 1, ITEMS + 1).tolist())
    assert np.array_equal(data.context["user_ids"][data.rows.group], data.rows.inputs["user"])


def test_the_public_files_give_the_same_ratings(tmp_path: Path) -> None:
    rows = ratings()
    data = Movielens().load(write_public(tmp_path, rows))
    found = np.stack([data.rows.inputs[name] for name in ("user", "item")] + [data.rows.target], axis=1)
    assert np.array_equal(found, rows[:, :3])
    assert not data.rows.part.any()
    assert data.context["item_features"].shape[1] == 20  # 19 genres and the year
    (tmp_path / "u1.base").write_text("1\t1\t3\t5\n2\t1\t4\t6\n")
    (tmp_path / "u1.test").write_text("1\t2\t3\t5\n")
    assert Movielens(fold="u1").load(tmp_path).rows.part.tolist() == [0, 0, 1]


def test_without_side_tables_the_ids_are_those_of_the_ratings(tmp_path: Path) -> None:
    rows = ratings()
    data = Movielens().load(write_csv(tmp_path, rows, side=False))
    assert np.array_equal(data.context["item_ids"], np.unique(rows[:, 1]))
    assert data.context["item_features"].shape[1] == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, 1, 9, 5), r"ratings_more\.csv, line 2: rating is outside 1 to 5 \(user 1, item 1, rating 9\)"),
        ((99, 1, 3, 5), r"line 2: user_id is not among the users"),
        ((1, 99, 3, 5), r"line 2: item_id is not among the items"),
        ((1, 1, "nan", 5), r"line 2: rating is outside 1 to 5 \(user 1, item 1, rating nan\)"),
        ((1, 1, 3, -5), r"line 2: timestamp is negative"),
        ((1, 1, "good", 5), r"ratings_more\.csv, line 2: rating is 'good', expected a number"),
        (("x", 1, 3, 5), r"line 2: user_id is 'x', expected a 64-bit integer"),
        ((2**70, 1, 3, 5), r"line 2: user_id is '1180591620717411303424', expected a 64-bit integer"),
        ((1, 1, 3), r"line 2: has 3 columns, expected 4"),
    ],
)
def test_a_bad_rating_is_named(tmp_path: Path, row: tuple[object, ...], message: str) -> None:
    rows = ratings()
    write_csv(tmp_path, rows[(rows[:, 0] != 1) | (rows[:, 1] != 1)])
    more = tmp_path / "ratings_more.csv"
    more.write_text("user_id,item_id,rating,timestamp\n" + ",".join(map(str, row)) + "\n")
    with pytest.raises(DataError, match=message):
        Movielens().load(tmp_path)


def test_a_pair_that_is_there_twice_is_named(tmp_path: Path) -> None:
    rows = ratings()
    write_csv(tmp_path, rows)
    user, item = rows[70, :2]
    (tmp_path / "ratings_zz.csv").write_text(f"user_id,item_id,rating,timestamp\n{user},{item},3,5\n")
    with pytest.raises(DataError, match=r"ratings_zz\.csv, line 2: user and item are there a second time"):
        Movielens().load(tmp_path)
    data, cleaning = clean(Movielens(on_bad_rows="drop").load(tmp_path), "drop")
    assert len(data.rows) == len(rows)
    assert sum(cleaning.dropped.values()) == 1


def test_a_missing_column_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs --data"):
        Movielens().load(None)
    with pytest.raises(DataError, match=r"neither u\.data nor ratings"):
        Movielens().load(tmp_path)
    (tmp_path / "ratings.csv").write_text("user_id,item_id,rating\n1,1,3\n")
    with pytest.raises(DataError, match=r"ratings\.csv has no column 'timestamp', it has user_id, item_id, rating"):
        Movielens().load(tmp_path)
    (tmp_path / "ratings.csv").write_bytes(b"user_id,item_id,rating,timestamp\n1,1,3,\xff\n")
    with pytest.raises(DataError, match=r"ratings\.csv, line 2: is not utf-8"):
        Movielens().load(tmp_path)


def test_a_side_table_with_an_id_twice_or_nan_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path, ratings())
    users = (tmp_path / "users.csv").read_text()
    (tmp_path / "users.csv").write_text(users + "3,20,M\n")
    with pytest.raises(DataError, match=r"users\.csv, line 27: user_id 3 is there a second time"):
        Movielens().load(tmp_path)
    (tmp_path / "users.csv").write_text(users.replace("1,21,F", "1,nan,F", 1))
    with pytest.raises(DataError, match=r"users\.csv, line 2: age is 'nan', expected a finite number"):
        Movielens().load(tmp_path)
