"""The shipped presets carry the figures of the source documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbert_engine.presets.batching import batch_for
from logbert_engine.presets.loading import check_file, list_presets, load_preset, preset_folder
from logbert_engine.presets.stages import plan_stages
from logbert_engine.presets.types import Decoder, Encoder

# name: hidden, layers, heads, max_length, sample_ratio, max_files, epochs, batch, progressive
ENCODERS = {
    "test": (256, 4, 4, 256, 0.01, 5, 2, 8, False),
    "small": (384, 6, 6, 512, 0.2, 50, 5, 4, False),
    "medium": (512, 6, 8, 512, 0.1, 50, 5, 16, False),
    "full": (768, 12, 12, 512, 1.0, 0, 10, 32, False),
    "cloud-v100": (768, 12, 12, 512, 1.0, 0, 10, 32, False),
    "cloud-colab": (768, 12, 12, 512, 1.0, 0, 10, 32, False),
    "dgx": (768, 12, 12, 512, 1.0, 0, 10, 32, False),
    "incremental": (384, 6, 6, 512, 1.0, 0, 2, 4, True),
    "demo": (128, 2, 4, 128, 1.0, 0, 4, 16, True),
    "quick": (128, 2, 4, 256, 1.0, 0, 20, 48, False),
}
DOCUMENTED = {
    "test": {"accuracy": "50–60%", "precision": "40–50%", "recall": "30–40%", "f1": "0.35–0.45"},
    "small": {"accuracy": "60–70%", "time": "1–2 days on the CPU", "memory": "8–12 GB"},
    "transfer": {"accuracy": "70–75%", "memory": "4–8 GB", "cost": "$0"},
    "medium": {"accuracy": "60–70%"},
    "full": {"accuracy": "85–95%", "precision": "80–90%", "recall": "75–85%", "f1": "0.80–0.90"},
    "cloud-v100": {"accuracy": "85–90%", "time": "10–20 h"},
    "cloud-colab": {"accuracy": "80–85%", "cost": "$10/month"},
    "dgx": {"accuracy": "90% or more"},
    "m4max-medium": {"perplexity": "below 15", "time": "less than 30 h", "memory": "8–10 GB"},
    "m4max-large": {"perplexity": "below 12", "time": "less than 50 h", "memory": "18–22 GB"},
}


def test_every_file_in_the_folder_loads_under_its_own_name() -> None:
    files = sorted(preset_folder().glob("*.yaml"))
    assert [check_file(path).name for path in files] == [path.stem for path in files]
    assert {preset.name for preset in list_presets()} == {
        *ENCODERS,
        "transfer",
        "m4max-medium",
        "m4max-large",
    }


def test_the_picker_orders_presets_and_no_two_share_a_place() -> None:
    orders = [preset.order for preset in list_presets()]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_preset_has_the_documents_figures(name: str) -> None:
    preset = load_preset(name)
    model = preset.model
    assert isinstance(model, Encoder)
    assert model.pretrained is None
    sizes = (model.hidden, model.layers, model.heads, model.max_length)
    data = (preset.data.sample_ratio, preset.data.max_files)
    training = (preset.stages.epochs, preset.training.batch, preset.stages.progressive)
    assert (*sizes, *data, *training) == ENCODERS[name]
    assert preset.stages.max_ratio == 1.0


def test_transfer_grows_from_a_tenth_to_all_with_the_documents_defaults() -> None:
    preset = load_preset("transfer")
    assert isinstance(preset.model, Encoder)
    assert preset.model.pretrained == "bert-base-uncased"
    stages = preset.stages
    assert (stages.start_ratio, stages.step_size, stages.max_ratio, stages.epochs) == (0.1, 0.1, 1.0, 2)
    assert stages.progressive
    assert (preset.data.sample_ratio, preset.data.max_files) == (0.1, 20)
    ratios = [stage.ratio for stage in plan_stages(stages)]
    batches = [batch_for(preset.training, ratio) for ratio in ratios]
    assert batches == [2, 2, 2, 2, 4, 4, 4, 4, 4, 4], "on the M4 Pro: 10% 1–2, 20% 2, 50% 2–4, 100% 4"
    assert preset.training.micro_batch == 0
    assert preset.memory.max_mb == 8000


@pytest.mark.parametrize(
    ("name", "sizes", "batch"),
    [
        ("m4max-medium", (32000, 1024, 24, 16, 4, 4096, 2048, None, False), (64, 16, 4)),
        ("m4max-large", (32000, 1536, 24, 24, 6, 6144, 2048, 1536, True), (64, 8, 8)),
    ],
)
def test_a_decoder_preset_has_the_documents_figures(
    name: str, sizes: tuple[object, ...], batch: tuple[int, int, int]
) -> None:
    preset = load_preset(name)
    model, training = preset.model, preset.training
    assert isinstance(model, Decoder)
    found = (model.vocabulary, model.hidden, model.layers, model.heads, model.kv_heads, model.ffn)
    assert (*found, model.max_length, model.train_length, model.gradient_checkpointing) == sizes
    assert (model.rope_theta, model.dropout) == (10000.0, 0.1)
    assert (training.batch, training.micro_batch, training.accumulation) == batch
    assert (training.learning_rate, training.warmup_steps, training.steps) == (2e-4, 4000, 200_000)
    assert training.learning_rate * training.final_share == pytest.approx(2e-5)
    assert (training.betas, training.eps, training.clip) == ((0.9, 0.95), 1e-8, 1.0)
    assert (training.weight_decay, training.precision) == (0.1, "fp16")
    assert (preset.device, preset.seed, preset.hardware.memory_gb) == ("mps", 1337, 36)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_expectations_are_carried_as_the_documents_own_words(name: str) -> None:
    documented = load_preset(name).documented
    assert DOCUMENTED[name].items() <= documented.items()


def test_rented_machines_carry_their_price() -> None:
    rented = load_preset("cloud-v100").hardware
    assert (rented.memory_gb, rented.price_per_hour) == (61, 3.06)
    assert "$20–30" in load_preset("cloud-v100").documented["cost"]
    assert load_preset("cloud-colab").hardware.price == "$10/month"
    assert load_preset("dgx").hardware.memory_gb == 256


def test_no_preset_repeats_a_claim_that_does_not_hold() -> None:
    for path in preset_folder().glob("*.yaml"):
        text = path.read_text()
        for claim in ("no GPU", "GPU 없음", "350M", "350 M", "22 h", "26 B", "steps/s"):
            assert claim not in text, f"{path.name} says {claim!r}"


def test_demo_has_three_stages() -> None:
    stages = load_preset("demo").stages
    assert (stages.start_ratio, stages.step_size, stages.max_ratio) == (0.34, 0.33, 1.0)


def test_quick_reads_sessions_in_both_ways_and_holds_out_blocks_over_time() -> None:
    preset = load_preset("quick")
    assert isinstance(preset.model, Encoder)
    assert preset.model.views == ("next", "bag")
    assert (preset.data.hold_out, preset.data.valid_share) == ("spread", 0.3)
    assert (preset.training.stage_steps, preset.training.batch_tokens, preset.stages.epochs) == (
        4000,
        1024,
        20,
    )
    assert (preset.training.learning_rate, preset.model.dropout) == (1e-3, 0.0)
    assert preset.documented == {}


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "quick"])
def test_the_documents_presets_hide_events_and_hold_out_the_latest(name: str) -> None:
    preset = load_preset(name)
    assert isinstance(preset.model, Encoder)
    assert preset.model.views == ("order",)
    assert preset.data.hold_out == "latest"
    assert preset.training.stage_steps == 0


def test_a_checkout_finds_its_own_presets(pytestconfig: pytest.Config) -> None:
    assert preset_folder() == Path(pytestconfig.rootpath, "presets").resolve()
