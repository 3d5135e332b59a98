"""Which recordings of people are used, and on which side."""

from pathlib import Path

from data_synth.people import people
from voiceglm.manifest import Utterance, write_manifest


def test_written_turns_and_what_nobody_wrote_down_are_left_out(tmp_path: Path) -> None:
    listed = [
        Utterance(tmp_path / "a.wav", "hello"),
        Utterance(None, "be brief", role="system"),
        Utterance(tmp_path / "b.wav", None),
        Utterance(tmp_path / "c.wav", "number 5"),
        Utterance(tmp_path / "d.wav", "hallo", language="de"),
        Utterance(tmp_path / "e.wav", "very long", extra={"seconds": 11.0}),
    ]
    write_manifest(tmp_path / "m.jsonl", listed)
    sides = [people([tmp_path / "m.jsonl"], held_out=side) for side in (False, True)]
    assert [u.text for side in sides for u in side] == ["hello"]
