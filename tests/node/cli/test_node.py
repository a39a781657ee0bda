"""What `archipel node` is started with: its options, and limits that were changed while it ran before."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.nodeconfig import NodeConfig
from node.serving.limits import LIMITS_FILE, Limits
from tests.node.cli.conftest import Cli

MB = 10**6


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeConfig]:
    """Filled with what nodes are started with."""
    found: list[NodeConfig] = []
    monkeypatch.setattr("node.cli.node.trio.run", lambda run, wanted, *_, **__: found.append(wanted))
    monkeypatch.setattr("node.cli.node.gc.freeze", lambda: None)
    return found


@pytest.mark.parametrize(
    ("options", "limits", "given"),
    [
        ((), Limits(quota_bytes=7 * MB, up_bytes_per_second=2 * MB), set()),
        (("--quota", "9MB"), Limits(quota_bytes=9 * MB, up_bytes_per_second=2 * MB), {"quota_bytes"}),
        (
            ("--up", "off", "--down", "3MB"),
            Limits(quota_bytes=7 * MB, down_bytes_per_second=3 * MB),
            {"up_bytes_per_second", "down_bytes_per_second"},
        ),
    ],
)
def test_limits_that_were_changed_hold_but_for_options(
    cli: Cli, tmp_path: Path, started: list[NodeConfig], options: Sequence[str], limits: Limits, given: set[str]
) -> None:
    (tmp_path / "data").mkdir()
    kept = {"version": 1, "quota_bytes": 7 * MB, "up_bytes_per_second": 2 * MB}
    (tmp_path / "data" / LIMITS_FILE).write_text(json.dumps(kept))
    assert cli("node", "--data", str(tmp_path / "data"), *options).code == 0
    assert started[0].limits == limits
    assert started[0].given == given


def test_damaged_limits_keep_a_node_from_starting(cli: Cli, tmp_path: Path, started: list[NodeConfig]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / LIMITS_FILE).write_text('{"version": 1, "quota_bytes": "much"}')
    told = cli("node", "--data", str(tmp_path / "data"))
    assert (told.code, started) == (7, [])
    assert f"{tmp_path / 'data' / LIMITS_FILE} is damaged: quota_bytes must be a whole number" in told.err
    assert "hint: remove it" in told.err
