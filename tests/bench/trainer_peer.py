"""The peer: transformers' Trainer with dynamic padding, as the field's scripts use it. Prints one JSON line."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from logbert_engine.data.contract import Session
from logbert_engine.data.reading import read_sessions, session_files
from logbert_engine.models.encoder import new_model
from logbert_engine.models.vocabulary import CLS, END, MASK, PAD, Vocabulary
from logbert_engine.presets.types import Encoder
from tests.bench import classic

WARM_UP = 8


class _Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_args: Any, **_more: Any) -> None:
        self.times.append(time.perf_counter())


def _collate(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    longest = max(map(len, rows))
    ids_BT = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    events_BT = (ids_BT != PAD) & (ids_BT != CLS) & (ids_BT != END)
    hidden_BT = (torch.rand(ids_BT.shape) < 0.45) & events_BT
    return {
        "input_ids": ids_BT.masked_fill(hidden_BT, MASK),
        "attention_mask": (ids_BT != PAD).long(),
        "labels": ids_BT.masked_fill(~hidden_BT, -100),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", type=int)
    steps = parser.parse_args().steps
    sessions = [
        found.events
        for file in session_files(classic.sessions_folder(), classic.MOST_FILES)
        for found in read_sessions(file)
        if isinstance(found, Session)
    ]
    vocabulary = Vocabulary(events=sorted({e for s in sessions for e in s}, key=str), reserved=56)
    rows = [[CLS, *vocabulary.lookup(events).tolist(), END] for events in sessions]
    sizes = Encoder(
        hidden=classic.WIDTH,
        layers=classic.LAYERS,
        heads=classic.HEADS,
        ffn=classic.FFN,
        dropout=classic.DROPOUT,
    )
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=classic.BATCH,
            learning_rate=1e-3,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=True,
            seed=1,
        )
        trainer = Trainer(
            model=new_model(sizes, vocabulary, seed=1),
            args=arguments,
            train_dataset=rows,  # type: ignore[arg-type]
            data_collator=_collate,
            callbacks=[clock],
        )
        trainer.train()
    seconds = clock.times[-1] - clock.times[WARM_UP - 1]
    done = (steps - WARM_UP) * classic.BATCH
    mean_events = sum(map(len, sessions)) / len(sessions)
    print(json.dumps({"sessions_per_s": done / seconds, "events_per_s": done * mean_events / seconds}))


if __name__ == "__main__":
    main()
