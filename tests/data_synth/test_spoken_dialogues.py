"""Spoken dialogues: what is made of them, the same however it is made, and what is left out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile

from data_synth.documents import dialogue_lines
from data_synth.processes import processes
from data_synth.spoken_dialogues import Report, SpokenConfig, speak_dialogues
from data_synth.spoken_rows import HASTY, RowWriter, Views, dialogue_row, in_views
from data_synth.tts import training_voices
from voiceglm.checkpoint import resolve
from voiceglm.errors import ConfigError, OutputError, SynthesisError
from voiceglm.language_model import read_language_model
from voiceglm.manifest import Utterance, read_manifest, read_samples
from voiceglm.prompt import IGNORED, PromptWriter
from voiceglm.train import read_examples

pytest.importorskip("espeakng_loader", reason="the synthesizer is not installed")
pytestmark = pytest.mark.usefixtures("nano")

SMALL = SpokenConfig(dialogues_per_pack=2)
ASKED = {"role": "user", "text": "What is 2 plus 2?"}
REPLY = {"role": "assistant", "text": "It is 4."}
SYSTEM = {"role": "system", "text": "Be brief.", "style": {"rate": "slow"}}
LONG = {"role": "assistant", "text": "Strengths, lengths, depths and widths abound. " * 3}
DIALOGUES: list[dict[str, Any] | str] = [
    {"id": "plain", "turns": [ASKED, REPLY, ASKED, REPLY]},
    "{",
    {"id": "system", "turns": [SYSTEM, ASKED, REPLY, ASKED, {**REPLY, "style": {"rate": 1}}]},
    {"id": "odd", "turns": [{**ASKED, "style": {"rate": 2}}, {**REPLY, "style": {"mood": "odd"}}]},
    {"id": "mute", "turns": [ASKED, {"role": "assistant", "text": "..."}]},
    {"id": "hasty", "turns": [ASKED, {**LONG, "style": {"rate": 2}}]},
    {"id": "chinese", "language": "zh", "turns": [{"role": "user", "text": "你好，2加2？"}, REPLY]},
    {"id": "whisper", "turns": [ASKED, {**REPLY, "style": {"emotion": "whisper"}}]},
    "5",
]


class Inline(Executor):
    """Does in this process what it is given, and can be made to die at one of it."""

    def __init__(self, dies_at: int | None = None, *, broken: bool = False):
        self.done = 0
        self._dies_at = dies_at
        self._broken = broken

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.done == self._dies_at:
            if self._broken:
                raise BrokenProcessPool("killed before")
            future.set_exception(BrokenProcessPool("killed"))
            return future
        self.done += 1
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module")
def worker() -> Iterator[Executor]:
    """One process that has spoken something else before."""
    with processes(1) as pool:
        yield pool


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "d.jsonl"
    path.write_text("".join(f"{d if isinstance(d, str) else json.dumps(d)}\n" for d in DIALOGUES))
    return path


@pytest.fixture(scope="module")
def whole(
    written: Path, worker: Executor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("whole") / "set"
    return folder, speak_dialogues(written, folder, SMALL, worker)


@pytest.fixture(scope="module")
def turns(whole: tuple[Path, Report]) -> dict[str, list[Utterance]]:
    found: dict[str, list[Utterance]] = {}
    for one in read_manifest(whole[0] / "manifest.jsonl"):
        found.setdefault(one.dialogue, []).append(one)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_every_turn_is_in_the_manifest_with_its_place_and_codes(
    turns: dict[str, list[Utterance]],
) -> None:
    assert list(turns) == ["plain", "system", "odd", "hasty", "chinese", "whisper"]
    assert [(t.role, t.turn) for t in turns["system"]] == [
        ("system", 0),
        ("user", 1),
        ("assistant", 2),
        ("user", 3),
        ("assistant", 4),
    ]
    system, *spoken = turns["system"]
    assert (system.path, system.text, system.extra) == (None, "Be brief.", {})
    for turn in [*spoken, *turns["plain"], *turns["chinese"]]:
        samples = read_samples(turn, 16_000)
        assert samples.abs().max() > 0.05, "something is said"
        assert len(turn.extra["codes"]) == pytest.approx(len(samples) / 1_280, abs=1)
        assert turn.extra["written"] in (ASKED["text"], REPLY["text"], "你好，2加2？")
    assert turns["plain"][0].text == "What is two plus two?"
    assert turns["plain"][1].text == "It is four."
    assert {turn.language for turn in turns["chinese"]} == {"zh"}
    assert turns["chinese"][0].text == "你好，二加二？"


def test_turns_lie_end_to_end_in_their_packs(turns: dict[str, list[Utterance]]) -> None:
    ends: dict[Path, int] = {}
    for turn in (turn for spoken in turns.values() for turn in spoken if turn.path):
        assert turn.start == ends.get(turn.recording, 0)
        ends[turn.recording] = turn.start + (turn.num_samples or 0)
    assert len(ends) == 4
    for path, end in ends.items():
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels) == (end, 22_050, 1)


def test_users_differ_and_the_assistant_does_not(turns: dict[str, list[Utterance]]) -> None:
    users = {n: {t.speaker for t in ts if t.role == "user"} for n, ts in turns.items()}
    assert all(len(speakers) == 1 for speakers in users.values()), "one voice in a dialogue"
    english = {next(iter(users[name])) for name in users if name != "chinese"}
    assert len(english) > 2
    assert english <= set(training_voices())
    said = [t for ts in turns.values() for t in ts if t.role == "assistant"]
    assert {t.speaker for t in said if t.language == "en"} == {"en-us+f2"}
    assert {t.speaker for t in said if t.language == "zh"} == {"cmn+f2"}
    same = [turns["plain"][1], turns["plain"][3], turns["system"][4]]
    assert len({bytes(read_samples(t, 22_050).numpy()) for t in same}) == 1


def test_replies_have_their_style_and_what_cannot_be_done_is_counted(
    turns: dict[str, list[Utterance]], whole: tuple[Path, Report]
) -> None:
    plain, slow = (turns[name][n].num_samples or 0 for name, n in (("plain", 1), ("system", 2)))
    assert slow == pytest.approx(plain / 0.8, rel=0.15), "the system's style is the dialogue's"
    assert turns["system"][2].extra["style"] == {"rate": "slow"}
    assert turns["system"][4].extra["style"] == {"rate": 1}
    assert turns["system"][4].num_samples == plain, "a turn's own style prevails"
    assert turns["odd"][0].extra["unmet"] == ["style of a user"]
    assert turns["odd"][1].extra["unmet"] == ["mood: odd"]
    assert dict(whole[1].unmet) == {"style of a user": 1, "mood: odd": 1}
    assert turns["whisper"][1].num_samples != plain


def test_what_is_left_out_is_listed_with_its_reason(whole: tuple[Path, Report]) -> None:
    folder, report = whole
    left_out = [json.loads(line) for line in (folder / "left_out.jsonl").read_text().splitlines()]
    assert left_out == [
        {"line": 2, "dialogue": "", "reason": "not JSON"},
        {"line": 5, "dialogue": "mute", "reason": "nothing to say", "turn": 1, "text": "..."},
        {"line": 6, "dialogue": "hasty", "reason": HASTY},
        {"line": 9, "dialogue": "", "reason": "not a JSON object"},
    ]
    assert report.left_out == Counter(row["reason"] for row in left_out)
    assert (report.dialogues, report.turns) == (5, 16)
    assert report.seconds == pytest.approx(16 * 1.5, rel=0.5)


def test_rows_keep_the_written_texts_and_are_what_training_reads(
    whole: tuple[Path, Report], turns: dict[str, list[Utterance]], nano: Path
) -> None:
    found = {row["dialogue"]: row for row in rows(whole[0])}
    assert list(found) == ["plain", "system", "odd", "chinese", "whisper"]
    for name, row in found.items():
        spoken = [t for t in turns[name] if t.role != "system"]
        assert row["turns"] == [
            {"text": t.extra["written"], "codes": t.extra["codes"]} for t in spoken
        ]
        assert row["learn"] == "both"
    assert found["system"]["instructions"] == "Be brief."
    assert "instructions" not in found["plain"]
    _, tokenizer, vocabulary, prompt = read_language_model(nano)
    writer = PromptWriter(vocabulary, lambda text: tokenizer.encode(text).ids, prompt)
    examples = list(read_examples(whole[0] / "rows.jsonl", writer))
    assert len(examples) == 5


def test_the_views_of_a_row_share_out_what_is_learned(
    turns: dict[str, list[Utterance]], nano: Path
) -> None:
    _, tokenizer, vocabulary, prompt = read_language_model(nano)
    writer = PromptWriter(vocabulary, lambda text: tokenizer.encode(text).ids, prompt)
    row = dialogue_row(turns["plain"])

    def labels(views: Views) -> list[list[int]]:
        return [list(writer.example(view).labels) for view in in_views(row, views)]

    [both], [text], [speech] = labels("both"), labels("text"), labels("speech")
    assert labels("two") == [text, speech]
    replies = [turn["codes"] for turn in row["turns"][1::2]]
    learned = [label for label in speech if label != IGNORED]
    assert learned == [vocabulary.speech_id(code) for codes in replies for code in codes]
    learned = [label for label in text if label != IGNORED]
    said = tokenizer.encode(REPLY["text"]).ids
    assert learned == [*said, vocabulary.user, *said, vocabulary.user]
    assert [max(pair) for pair in zip(text, speech, strict=True)] == both


def test_the_same_files_with_any_number_of_processes(
    written: Path, whole: tuple[Path, Report], tmp_path: Path
) -> None:
    with processes(2) as pool:
        report = speak_dialogues(written, tmp_path / "set", SMALL, pool)
    assert report == whole[1]
    assert files(tmp_path / "set") == files(whole[0])


@pytest.mark.parametrize(
    "lost",
    [
        ["pack_0001.jsonl", "manifest.jsonl", "rows.jsonl"],
        ["pack_0001.jsonl", "pack_0001.wav", "left_out.jsonl"],
        ["pack_0000.jsonl", "pack_0000.wav", "pack_0000.left_out", "pack_0002.jsonl"],
    ],
)
def test_a_killed_run_goes_on(
    written: Path, whole: tuple[Path, Report], worker: Executor, tmp_path: Path, lost: list[str]
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(whole[0], folder)
    for name in lost:
        (folder / name).unlink()
    (folder / ".pack_0001.wav.1.tmp").write_bytes(b"half")
    kept = {name: (folder / name).stat().st_mtime_ns for name in os.listdir(folder)}
    assert speak_dialogues(written, folder, SMALL, worker) == whole[1]
    assert files(folder) == files(whole[0])
    finished = [n for n in kept if n.endswith(".wav") and n.replace("wav", "jsonl") in kept]
    assert finished, "something was kept"
    assert all((folder / name).stat().st_mtime_ns == kept[name] for name in finished)


def test_whoever_kills_it_wherever_the_next_run_finishes(
    written: Path, whole: tuple[Path, Report], worker: Executor, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from data_synth.processes import processes\n"
        "from data_synth.spoken_dialogues import SpokenConfig, speak_dialogues\n"
        "if __name__ == '__main__':\n"
        "    with processes(1) as pool:\n"
        "        config = SpokenConfig(dialogues_per_pack=2)\n"
        "        speak_dialogues(Path(sys.argv[1]), Path(sys.argv[2]), config, pool)\n"
    )
    script, folder = tmp_path / "run.py", tmp_path / "set"
    script.write_text(code)
    root = Path(__file__).parent.parent.parent
    run = subprocess.Popen(
        [sys.executable, str(script), str(written), str(folder)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )
    while not list(folder.glob("pack_*.wav")) and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    time.sleep(1)  # its processes end a moment later than it does
    report = speak_dialogues(written, folder, SMALL, worker)
    assert report == whole[1]
    assert files(folder) == files(whole[0])


@pytest.mark.parametrize("broken", [False, True])
def test_a_process_that_dies_is_one_error_and_what_is_finished_stays(
    written: Path, tmp_path: Path, broken: bool
) -> None:
    executor = Inline(dies_at=1, broken=broken)
    with pytest.raises(SynthesisError, match="was killed; what is finished stays: run again"):
        speak_dialogues(written, tmp_path / "set", SMALL, executor)
    assert executor.done == 1
    assert (tmp_path / "set" / "pack_0000.jsonl").exists()
    assert not (tmp_path / "set" / "manifest.jsonl").exists()


def test_a_finished_run_speaks_nothing_again(
    written: Path, whole: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole[0], tmp_path / "set")
    monkeypatch.setattr("data_synth.dialogue_packs.speak_dialogue", None)
    assert speak_dialogues(written, tmp_path / "set", SMALL, Inline()) == whole[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"views": "two"}, "views was both, is two"),
        ({"dialogues_per_pack": 3}, "dialogues_per_pack was 2, is 3"),
    ],
)
def test_other_settings_are_refused(
    written: Path, whole: tuple[Path, Report], changed: dict[str, Any], message: str
) -> None:
    before = files(whole[0])
    with pytest.raises(OutputError, match=message):
        speak_dialogues(written, whole[0], replace(SMALL, **changed), Inline())
    assert files(whole[0]) == before


def test_other_dialogues_are_refused(whole: tuple[Path, Report], tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("".join(f"{line}\n" for line in dialogue_lines(2, seed=0)))
    with pytest.raises(OutputError, match=r"begun otherwise \(with other texts\)"):
        speak_dialogues(other, whole[0], SMALL, Inline())


def test_another_seed_gives_users_other_voices_and_the_assistant_its_own(
    written: Path, turns: dict[str, list[Utterance]], worker: Executor, tmp_path: Path
) -> None:
    speak_dialogues(written, tmp_path / "set", replace(SMALL, seed=1), worker)
    now = read_manifest(tmp_path / "set" / "manifest.jsonl")
    before = [turn for spoken in turns.values() for turn in spoken]
    users = [(a.speaker, b.speaker) for a, b in zip(before, now, strict=True) if a.role == "user"]
    assert sum(a != b for a, b in users) > len(users) / 2
    for a, b in zip(before, now, strict=True):
        if a.role == "assistant":
            assert (a.speaker, a.num_samples) == (b.speaker, b.num_samples)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("\n", "holds no dialogue"),
        ("{\n", "none of 1 dialogues can be used, the first because: not JSON; see"),
    ],
)
def test_nothing_to_speak_is_an_error(tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "d.jsonl").write_text(data)
    with pytest.raises((ConfigError, SynthesisError), match=message):
        speak_dialogues(tmp_path / "d.jsonl", tmp_path / "set", SMALL, Inline())
    with pytest.raises(ConfigError, match=r"cannot read .*no\.jsonl"):
        speak_dialogues(tmp_path / "no.jsonl", tmp_path / "set", SMALL, Inline())


def test_a_full_disk_is_an_output_error(
    written: Path,
    tmp_path: Path,
    full_disk: Callable[[], AbstractContextManager[None]],
) -> None:
    with full_disk(), pytest.raises(OutputError, match="cannot write"):
        speak_dialogues(written, tmp_path / "set", SMALL, Inline())
    assert not list((tmp_path / "set").glob("*.wav"))


def test_a_dialogue_longer_than_the_model_reads_is_left_out(tmp_path: Path) -> None:
    def turn(role: str, number: int) -> Utterance:
        extra = {"written": "Hello.", "codes": [1] * 200}
        return Utterance(Path("a.wav"), "Hello.", role=role, dialogue=str(number), extra=extra)

    pair = [("user", "assistant") * count for count in (4, 5)]
    utterances = [turn(role, number) for number, roles in enumerate(pair) for role in roles]
    writer = RowWriter(resolve("nano", "language_model"))
    left_out = writer.write(tmp_path / "rows.jsonl", utterances, "two")
    assert left_out == {"1": "over 2,048 ids, the most that the model reads"}
    assert [(row["dialogue"], row["learn"]) for row in rows(tmp_path)] == [
        ("0", "text"),
        ("0", "speech"),
    ]
