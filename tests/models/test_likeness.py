from __future__ import annotations

import pytest

from logbert_engine.models.likeness import most_alike

KNOWN = [
    "Receiving block <*> src: <*>",
    "Deleting block <*> file <*>",
    "BLOCK* NameSystem.addStoredBlock: <*>",
]


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("block deleting", 1), ("receiving 12 blk_7 src", 0), ("block stored: add_stored_block", 2)],
)
def test_rare_words_decide_and_names_are_taken_apart(text: str, nearest: int) -> None:
    assert most_alike([text], KNOWN)[0].tolist() == [nearest]


def test_the_same_words_are_wholly_alike_and_no_shared_word_is_not_alike_at_all() -> None:
    _, cosine = most_alike(["deleting BLOCK 5 file", "rts panic", "<*> 0x12", ""], KNOWN)
    assert cosine[0] == pytest.approx(1)
    assert cosine[1:].tolist() == [0, 0, 0]
