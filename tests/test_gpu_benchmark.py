"""The benchmark for GPUs: what it draws, what it counts, and a dry run of a real worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu


def test_rows_are_as_long_as_they_should_be_and_never_the_same() -> None:
    row = gpu.ROWS["1b-lora-16k"]
    lengths = [len(text.split()) for text in gpu.drawn(row, 40, 1)]
    assert len(lengths) == 40 * row.rows and max(lengths) < row.most
    assert 0.85 * row.mean < sum(lengths) / len(lengths) < 1.1 * row.mean  # the longest are cut
    assert gpu.drawn(row, 1, 1) == gpu.drawn(row, 1, 1) != gpu.drawn(row, 1, 2)


def test_the_first_update_is_left_out_and_the_middle_half_is_told() -> None:
    speeds = gpu._speeds([(10.0, 100.0), (11.0, 300.0), (13.0, 500.0), (13.0, 500.0), (14.0, 900.0)])
    assert speeds == [200.0, 100.0, 400.0]
    found = gpu._figures([*speeds, 300.0], 5)
    assert (found["tokens_per_second"], found["middle_half"]) == (250.0, [200.0, 300.0])
    assert "failed" in gpu._figures([], 5)


def test_the_floor_is_what_the_weights_products_take() -> None:
    assert 140_000 < gpu.floor(gpu.ROWS["1b-lora-16k"], 763e12) < 160_000
    lora, full = (gpu.floor(gpu.ROWS[name], 763e12) for name in ("1b-lora-32k", "1b-full-32k"))
    assert lora == pytest.approx(1.5 * full)


def test_each_side_stands_with_its_ratio_and_what_is_missing_says_so() -> None:
    one = {"tokens_per_second": 300.0, "middle_half": [290.0, 310.0], "peak_memory_bytes": 2**30}
    found = {"worker": one, "trl": one | {"tokens_per_second": 100.0}, "unsloth": {"not measured": "it isn't there"}}
    lines = gpu.table("1b-lora-16k", found, {"name": "card", "flops": 4 * 300.0 * 1.236e9})
    assert lines[0] == "1b-lora-16k on card"
    assert "300 tokens/s (290 to 310), 1.0 GiB, 3.00 of trl, 100 % of the floor" in lines[1]
    assert lines[3].split() == ["unsloth", "not", "measured:", "it", "isn't", "there"]


def test_a_dry_run_of_the_worker_has_figures(tmp_path: Path) -> None:
    found = gpu.measured("tiny", tmp_path, ["worker", "unsloth"], 6, 1)
    assert found["worker"]["tokens_per_second"] > 0 and found["worker"]["peak_memory_bytes"] > 10**8
    assert found["unsloth"] == {"not measured": "unsloth is not installed"}
