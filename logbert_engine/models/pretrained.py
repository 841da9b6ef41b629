"""Transfer: the body of a pre-trained BERT, with new rows for events in place of its word embeddings."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, BertForMaskedLM, DistilBertForMaskedLM
from transformers.utils import logging as transformers_logging

from logbert_engine.models.checkpoint import (
    UNUSABLE,
    VOCABULARY_FILE,
    ModelRecord,
    load_export,
    load_model,
)
from logbert_engine.models.encoder import MaskedModel, longest_input
from logbert_engine.models.likeness import most_alike
from logbert_engine.models.vocabulary import CLS, END, MASK, PAD, UNK, EventId, Vocabulary
from logbert_engine.protocol.errors import CheckpointError

transformers_logging.disable_progress_bar()

_MODELS = {"bert": BertForMaskedLM, "distilbert": DistilBertForMaskedLM}


def load_pretrained(source: str, vocabulary: Vocabulary, templates: dict[str, str], seed: int) -> MaskedModel:
    """Load a body and give it event embeddings.

    The body (positions, layers, and the head's transform where the source has one) is kept. Word embeddings
    are replaced by one row an event: the mean of the embeddings of its template's word pieces where the
    template is known, else a draw from the distribution of the old rows. Markers take the rows of the
    source's own ([PAD], [CLS], [SEP], [MASK], [UNK]).

    A model of ours has no words but the templates of its events. An event that it knows keeps its row. One that it
    does not know, or knows by another template (other logs number theirs from 0 too), leans towards the row of
    the event whose template has the most like words, as far as the cosine of the two goes; the rest is drawn.

    Args:
        source: a hub id, a folder as transformers writes it, an export or model file of ours.
        vocabulary: the events to make rows for.
        templates: event id as text to template.
        seed: for the rows that are drawn, and for a head that the source does not have.

    Raises:
        CheckpointError: not found, the hub is out of reach, or not a BERT or DistilBERT.
    """
    torch.manual_seed(seed)
    path = Path(source)
    if path.is_file() or (path / VOCABULARY_FILE).exists():
        model, record = load_model(path) if path.is_file() else load_export(path)
        _replace_rows(model, *_rows_from_events(model, record, vocabulary, templates, seed))
        return model
    config = _config(source)
    model = _quietly(_MODELS[config.model_type].from_pretrained, source, dtype=torch.float32)
    tokenizer = _quietly(AutoTokenizer.from_pretrained, source)
    _replace_rows(model, *_rows_from_words(model, tokenizer, vocabulary, templates, seed))
    return model


def add_events(model: MaskedModel, record: ModelRecord, vocabulary: Vocabulary) -> None:
    """Give a model rows for a vocabulary that holds more events than the one that it was trained with.

    The rows of events that it knows stay as they are; others are made as ``load_pretrained`` makes them.
    """
    _replace_rows(model, *_rows_from_events(model, record, vocabulary, record.templates, record.seed))


def longest_pretrained(source: str) -> int:
    """Tokens of the longest input that a pre-trained model has positions for.

    Raises:
        CheckpointError: as ``load_pretrained``.
    """
    path = Path(source)
    if path.is_file():
        return longest_input(load_model(path)[0])
    return int(_config(source).max_position_embeddings)


def _config(source: str) -> Any:
    try:
        config = AutoConfig.from_pretrained(source)
    except UNUSABLE as error:
        place = (
            "the folder has no usable config.json"
            if Path(source).is_dir()
            else "there is no such folder here"
        )
        raise CheckpointError(
            f"cannot load the pre-trained model {source!r}: {place}, and the Hugging Face hub does not give it "
            "(unknown id, or offline). Check the name, or give --pretrained a folder."
        ) from error
    if config.model_type not in _MODELS:
        raise CheckpointError(
            f"the pre-trained model {source!r} is a {config.model_type}; only bert and distilbert can be used."
        )
    return config


def _quietly(load: Any, source: str, **options: Any) -> Any:
    """Load without transformers' report of heads that a body-only checkpoint does not have."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return load(source, **options)
    except UNUSABLE as error:
        raise CheckpointError(
            f"cannot load the pre-trained model {source!r}: weights or tokenizer are missing or damaged, or the "
            "hub is out of reach. Check the name, or give --pretrained a whole folder."
        ) from error
    finally:
        logger.setLevel(level)


def _drawn_rows(old_VD: Tensor, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(size, old_VD.shape[1], generator=generator)
    return old_VD.mean(dim=0) + noise * old_VD.std(dim=0)


def _rows_from_words(
    model: MaskedModel, tokenizer: Any, vocabulary: Vocabulary, templates: dict[str, str], seed: int
) -> tuple[Tensor, Tensor]:
    old_VD = model.get_input_embeddings().weight.detach()
    if not len(tokenizer.all_special_ids) < len(tokenizer) <= len(old_VD):
        raise CheckpointError(
            f"the tokenizer of the pre-trained model {tokenizer.name_or_path!r} is missing or not its own "
            f"({len(tokenizer)} words for {len(old_VD)} rows); give --pretrained a whole folder."
        )
    rows_VD = _drawn_rows(old_VD, vocabulary.size, seed)
    markers = {
        PAD: tokenizer.pad_token_id,
        CLS: tokenizer.cls_token_id,
        END: tokenizer.sep_token_id,
        MASK: tokenizer.mask_token_id,
        UNK: tokenizer.unk_token_id,
    }
    for row, token in markers.items():
        if token is not None:
            rows_VD[row] = old_VD[token]
    for i, name in enumerate(vocabulary.names()):
        text = templates.get(name, "").replace("<*>", " ").strip()
        pieces = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        if pieces:
            rows_VD[vocabulary.first + i] = old_VD[torch.tensor(pieces)].mean(dim=0)
    return rows_VD, torch.zeros(vocabulary.size)


def _rows_from_events(
    model: MaskedModel, record: ModelRecord, vocabulary: Vocabulary, templates: dict[str, str], seed: int
) -> tuple[Tensor, Tensor]:
    before = record.vocabulary
    old_VD = model.get_input_embeddings().weight.detach()
    old_bias_V = _output_bias(model).detach()
    rows_VD, bias_V = _drawn_rows(old_VD, vocabulary.size, seed), torch.zeros(vocabulary.size)
    lead = min(before.first, vocabulary.first)
    rows_VD[:lead], bias_V[:lead] = old_VD[:lead], old_bias_V[:lead]
    mean_D = old_VD.mean(dim=0)
    origins = _origins(record, vocabulary, templates)
    for new, event in enumerate(vocabulary.events, start=vocabulary.first):
        old, likeness = origins.get(event, (UNK, 0.0))
        if likeness == 1:
            rows_VD[new] = old_VD[old]
        else:  # what is drawn fills up the rest, so that rows spread as widely as the old ones
            drawn_D = math.sqrt(1 - likeness**2) * (rows_VD[new] - mean_D)
            rows_VD[new] = mean_D + likeness * (old_VD[old] - mean_D) + drawn_D
        bias_V[new] = likeness * old_bias_V[old]
    return rows_VD, bias_V


def _origins(
    record: ModelRecord, vocabulary: Vocabulary, templates: dict[str, str]
) -> dict[EventId, tuple[int, float]]:
    """Event to the row that it comes from and how alike the two are; without those that share no word with any."""
    before = record.vocabulary
    place = {event: before.first + i for i, event in enumerate(before.events)}
    told = [event for event in before.events if record.templates.get(str(event))]
    origins: dict[EventId, tuple[int, float]] = {}
    others: list[EventId] = []
    for event in vocabulary.events:
        text, old = templates.get(str(event)), record.templates.get(str(event))
        if event in place and (not text or not old or text == old):
            origins[event] = (place[event], 1.0)
        elif text and told:
            others.append(event)
    if others:
        nearest, likeness = most_alike(
            [templates[str(event)] for event in others], [record.templates[str(event)] for event in told]
        )
        for event, i, alike in zip(others, nearest, likeness, strict=True):
            if alike > 0:
                origins[event] = (place[told[i]], float(alike))
    return origins


def _output_bias(model: MaskedModel) -> Tensor:
    bias: Tensor = model.get_output_embeddings().bias
    return bias


def _replace_rows(model: MaskedModel, rows_VD: Tensor, bias_V: Tensor) -> None:
    size, width = rows_VD.shape
    embeddings = nn.Embedding(size, width, padding_idx=PAD)
    head = nn.Linear(width, size)
    with torch.no_grad():
        embeddings.weight.copy_(rows_VD)
        head.bias.copy_(bias_V)
    head.weight = embeddings.weight
    model.set_input_embeddings(embeddings)
    model.set_output_embeddings(head)
    if isinstance(model, BertForMaskedLM):
        model.cls.predictions.bias = head.bias
    model.config.vocab_size = size
    model.config.pad_token_id = PAD
