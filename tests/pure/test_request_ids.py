"""Ids of requests: one that occurs twice is found among any number, whatever the ids are."""

from hypothesis import given
from hypothesis import strategies as st

from lab.judge.stats.request_ids import id_problems
from lab.model.samples import Layer, Request, Rows


def problems(*ids: str | None) -> list[str]:
    rows = [
        Request(float(n), None, None, "add", False, Layer.UNSENT, "", "0000", id=i) for n, i in enumerate(ids)
    ]
    return list(id_problems(Rows(rows)))


@given(st.lists(st.text(max_size=4), unique=True, max_size=20))
def test_different_ids_are_right(ids: list[str]) -> None:
    assert problems(*ids) == []


@given(st.lists(st.text(max_size=4), unique=True, min_size=1, max_size=20), st.data())
def test_an_id_that_occurs_twice_is_found(ids: list[str], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(ids))
    assert problems(*ids, again) == [f"1 request ids occur twice or more, such as {again}"]


def test_a_request_without_an_id_is_wrong_among_others_only() -> None:
    assert problems("a", None, "b") == ["1 requests have no id"]
    assert problems(None, None) == problems() == []
