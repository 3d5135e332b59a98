"""Dialogues spoken by a speech server: many users, one assistant, and a server in trouble."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from data_synth.dialogue_voices import EndpointConfig
from data_synth.lock import locked
from data_synth.spoken_dialogues import Report, SpokenConfig, speak_dialogues
from tests.data_synth.tiny import tiny_model
from tests.speech_server import Answer, Decide, serving, spoken
from voiceglm.cli import main
from voiceglm.errors import ConfigError, EngineError, OutputError
from voiceglm.manifest import Utterance, read_manifest, read_samples

WISHES: list[dict[str, Any]] = [
    {},
    {"rate": "slow"},
    {"volume": "soft"},
    {"pitch": "high", "emotion": "sad"},
]
COUNT = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "written.jsonl"
    with path.open("w") as file:
        for number in range(COUNT):
            said = {"role": "user", "text": f"What is number {number}?"}
            reply = {"role": "assistant", "text": f"The {number}."}
            row = {"id": f"d{number}", "turns": [said, {**reply, "style": WISHES[number % 4]}]}
            file.write(json.dumps(row) + "\n")
    return path


def run(written: Path, folder: Path, model: Path, url: str, **changes: Any) -> Report:
    endpoint = EndpointConfig(url=url, **{"give_up": 0.5, **changes})
    config = SpokenConfig(model=str(model), dialogues_per_pack=3, endpoint=endpoint)
    with ThreadPoolExecutor(1) as executor:
        return speak_dialogues(written, folder, config, executor)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def turns(folder: Path, role: str) -> list[Utterance]:
    return [one for one in read_manifest(folder / "manifest.jsonl") if one.role == role]


def test_users_differ_and_the_assistant_does_not(
    tmp_path: Path, written: Path, model: Path
) -> None:
    with serving() as (url, speaker):
        report = run(written, tmp_path / "a", model, url)
    assert (report.dialogues, report.turns) == (COUNT, 2 * COUNT)
    users = [turn.speaker for turn in turns(tmp_path / "a", "user")]
    assert len(set(users)) > 2
    assert set(users) <= set(EndpointConfig(url=url).users)
    assert {turn.speaker for turn in turns(tmp_path / "a", "assistant")} == {"alloy"}
    asked = {(request["voice"], request["input"]) for request in speaker.requests}
    assert ("alloy", "The zero.") in asked, "in words"


def test_a_style_is_met_as_far_as_a_server_can(tmp_path: Path, written: Path, model: Path) -> None:
    with serving() as (url, _):
        report = run(written, tmp_path / "a", model, url)
    plain, slow, soft, odd = turns(tmp_path / "a", "assistant")[:4]
    assert slow.num_samples == pytest.approx((plain.num_samples or 0) / 0.8, rel=0.05)
    loudness = [read_samples(turn, 16_000).abs().max() for turn in (plain, soft)]
    assert loudness[1] / loudness[0] == pytest.approx(0.5, rel=0.02), "-6 dB"
    assert odd.extra["unmet"] == ["pitch of an endpoint", "emotion of an endpoint"]
    assert report.unmet == {"pitch of an endpoint": 2, "emotion of an endpoint": 2}


def test_the_same_files_however_many_at_once_and_however_often_it_stopped(
    tmp_path: Path, written: Path, model: Path
) -> None:
    def dies(request: dict[str, Any], attempt: int) -> Answer:
        return Answer(503, b"gone") if "six" in request["input"] else spoken(request)

    deciding: list[Decide] = [dies]
    with serving(lambda request, attempt: deciding[0](request, attempt)) as (url, speaker):
        with pytest.raises(EngineError, match=r"gave nothing for .*503 gone"):
            run(written, tmp_path / "a", model, url)
        assert sorted(path.name for path in (tmp_path / "a").glob("pack_*.jsonl")) == [
            "pack_0000.jsonl", "pack_0001.jsonl",
        ]  # fmt: skip
        assert not (tmp_path / "a" / "rows.jsonl").exists(), "nothing is left out for it"
        deciding[0] = lambda request, _: spoken(request)
        speaker.requests.clear()
        run(written, tmp_path / "a", model, url)
        assert not any("zero" in request["input"] for request in speaker.requests), "kept"
        run(written, tmp_path / "b", model, url, parallel=1)
        with pytest.raises(OutputError, match="assistant was alloy, is onyx"):
            run(written, tmp_path / "b", model, url, assistant="onyx", users=("echo",))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_what_is_refused_is_left_out(tmp_path: Path, written: Path, model: Path) -> None:
    def decide(request: dict[str, Any], _: int) -> Answer:
        refuses = request["input"].startswith("What is number two")
        return Answer(400, b"no twos") if refuses else spoken(request)

    with serving(decide) as (url, _):
        report = run(written, tmp_path / "a", model, url)
    assert report.dialogues == COUNT - 1
    (left_out,) = (tmp_path / "a" / "left_out.jsonl").read_text().splitlines()
    assert json.loads(left_out) == {
        "line": 3, "dialogue": "d2", "reason": "400 no twos", "turn": 0,
        "text": "What is number 2?",
    }  # fmt: skip


def test_two_runs_cannot_write_one_folder(tmp_path: Path, written: Path, model: Path) -> None:
    folder = tmp_path / "a"
    with serving() as (url, speaker):
        run(written, folder, model, url)
        before = files(folder)
        (folder / ".pack_0009.wav.1.tmp").write_text("of the other run")
        with locked(folder), pytest.raises(ConfigError, match="somebody is at work"):
            run(written, folder, model, url)
        assert (folder / ".pack_0009.wav.1.tmp").exists(), "its drafts are not touched"
        asked = len(speaker.requests)
        run(written, folder, model, url)
    assert files(folder) == before
    assert len(speaker.requests) == asked


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--user-voices", "ann"], "add --endpoint URL"),
        (["--endpoint", "nowhere"], "no address of a server"),
        (["--endpoint", "http://x", "--assistant-voice", "echo"], "not a user's too"),
    ],
)
def test_misuse_is_one_line(
    tmp_path: Path, written: Path, given: list[str], message: str, capsys: Any
) -> None:
    assert main(["synth", "dialogues", str(written), "-o", str(tmp_path / "a"), *given]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
