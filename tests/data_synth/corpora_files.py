"""Tiny corpora in the exact layouts of the well-known ones, and recordings for them."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    """Return something that is not silent: (num_samples,)."""
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


def record(path: Path, samples: np.ndarray | None = None, rate: int = RATE) -> Path:
    """Write a recording, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(rate=rate) if samples is None else samples, rate)
    return path


def truncate(path: Path) -> Path:
    """Cut a recording in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def ljspeech(folder: Path) -> Path:
    """Three good rows and one of every kind that is not."""
    for number in (1, 2, 3, 6):
        record(folder / "wavs" / f"LJ001-000{number}.wav", rate=22_050)
    truncate(folder / "wavs" / "LJ001-0006.wav")
    rows = [
        "LJ001-0001|Printing, in 1455.|Printing, in fourteen fifty-five.",
        'LJ001-0002|He said "no".|',
        "LJ001-0003|only two columns",
        "LJ001-0004|No file.|No file.",
        "LJ001-0005",
        "LJ001-0006|Half a file.|Half a file.",
        "LJ001-0001| | ",
        "LJ001-0002|A bell \x07.|A bell \x07.",
        "../../secret|Out.|Out.",
        f"LJ001-0003|{'long ' * 5_000}|",
        "x" * 300 + "|a name no file can have|",
    ]
    text = "\n".join(rows).encode() + b"\nLJ001-0003|Gr\xfc\xdfe|Gr\xfc\xdfe\n"
    (folder / "metadata.csv").write_bytes(text)
    return folder


def librispeech(folder: Path) -> Path:
    """Two speakers of train-clean-100, one recording without a transcript, one without a file."""
    chapters = {"103/1240": 3, "1034/121119": 1}
    for chapter, count in chapters.items():
        name = chapter.replace("/", "-")
        home = folder / "train-clean-100" / chapter
        for number in range(count):
            record(home / f"{name}-000{number}.flac")
        lines = [f"{name}-000{number} HELLO NUMBER {number}" for number in range(count)]
        (home / f"{name}.trans.txt").write_text("\n".join(lines) + "\n")
    last = folder / "train-clean-100" / "103" / "1240" / "103-1240.trans.txt"
    kept = last.read_text().splitlines()[:2]
    last.write_text("\n".join([*kept, "103-1240-0009 NOT THERE"]) + "\n")
    return folder


def common_voice(folder: Path) -> Path:
    """A German validated.tsv with its columns in an order of their own."""
    for number in (1, 2, 3):
        record(folder / "clips" / f"common_voice_de_{number}.mp3", rate=32_000)
    rows = [
        "client_id\tsentence\tpath\tup_votes\tage\tgender\tlocale",
        "aa\tGuten Tag.\tcommon_voice_de_1.mp3\t2\ttwenties\tfemale\tde",
        'bb\t"Er sagte ""nein""."\tcommon_voice_de_2\t2\t\t\tde-AT',
        "bb\tFehlt.\tcommon_voice_de_9.mp3\t2\t\t\tde",
        "cc\t\tcommon_voice_de_3.mp3\t2\t\t\tde",
        "cc",
    ]
    (folder / "validated.tsv").write_text("\n".join(rows) + "\n")
    (folder / "train.tsv").write_text("\n".join(rows[:2]) + "\n")
    (folder / "reported.tsv").write_text("sentence\treason\nx\ty\n")
    return folder


def aishell(folder: Path) -> Path:
    """data_aishell with two speakers; one recording nobody wrote down, one that is missing."""
    root = folder / "data_aishell"
    for part, speaker, number in (("train", "S0002", 122), ("train", "S0002", 123)):
        record(root / "wav" / part / speaker / f"BAC009{speaker}W0{number}.wav")
    record(root / "wav" / "test" / "S0764" / "BAC009S0764W0121.wav")
    lines = [
        "BAC009S0764W0121 甚至 出现 交易 几乎 停滞 的 情况",
        "BAC009S0002W0122 而 对 楼市 成交 P P I 作用 最 大 的 限 购",
        "BAC009S0002W0999 没有 录音",
    ]
    (root / "transcript").mkdir()
    path = root / "transcript" / "aishell_transcript_v0.8.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def plain_folder(folder: Path) -> Path:
    """Recordings with and without a text, in folders below one another."""
    record(folder / "b.wav")
    record(folder / "a" / "one.ogg")
    record(folder / "a" / "two.flac")
    record(folder / "a" / "three.wav")
    record(folder / "a" / "._one.ogg")
    (folder / "a" / "one.txt").write_text("Hello,\nthere.\n")
    (folder / "a" / "two.txt").write_bytes(b"\xff\xfeH\x00i\x00")
    (folder / "a" / "three.txt").write_text("\n" * 100_000)  # too much to read, not empty
    (folder / "a" / "notes.pdf").touch()
    return folder
