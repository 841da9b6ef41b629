from __future__ import annotations

import numpy as np
import pytest

from logbert_engine.evaluation.leaks import refuse_labelled_training, refuse_shared_sessions, session_keys
from logbert_engine.protocol.errors import EvaluationError, error_of_kind


def test_a_session_of_training_in_the_evaluation_is_refused_with_a_sentence() -> None:
    with pytest.raises(EvaluationError) as told:
        refuse_shared_sessions(np.array(["blk_1", "blk_2", "blk_3"]), np.array(["blk_9", "blk_3"]))
    assert str(told.value) == (
        "1 of the 3 session ids of the evaluation are of sessions that the model was trained or calibrated on "
        "(blk_3); evaluate on sessions that it has never met."
    )
    refuse_shared_sessions(np.array(["blk_1", "blk_2"]), np.array(["blk_9", "blk_3"]))


def test_keys_tell_sessions_of_the_same_content_apart_but_not_the_same_session() -> None:
    content = [b"\x01\x02", b"\x01\x02", b"\x03"]
    trained = session_keys([b"1", b"2", b"3"], content)
    assert len(set(trained.tolist())) == 3
    refuse_shared_sessions(session_keys([b"4", b"5"], content[:2]), trained)
    refuse_shared_sessions(session_keys([b"1"], [b"\x07"]), trained)  # ids begin anew in another file
    assert session_keys([b"1"], [b"2"]) != session_keys([b"12"], [b""])
    with pytest.raises(EvaluationError, match="number 2") as told:
        refuse_shared_sessions(session_keys([b"8", b"2"], content[:2]), trained, "calibrated")
    assert "was calibrated on" in str(told.value)
    assert session_keys([]).shape == (0,)
    assert session_keys([b"1", b"2"]).dtype == np.uint64


def test_labels_other_than_normal_in_training_are_refused_with_a_sentence() -> None:
    refuse_labelled_training(np.array([0, -1, 0], dtype=np.int8))
    with pytest.raises(
        EvaluationError, match=r"^2 of the 4 sessions of the training sample have labels other"
    ):
        refuse_labelled_training(np.array([0, 1, -1, 1], dtype=np.int8))


def test_the_error_keeps_its_kind_over_the_wire() -> None:
    assert isinstance(error_of_kind("evaluation", "a leak"), EvaluationError)
