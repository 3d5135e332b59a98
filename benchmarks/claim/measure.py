"""What a trained model is asked, and how it is marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.claim.material import Material, Row
from benchmarks.claim.world import RELATIONS
from voiceglm.error_rate import character_errors
from voiceglm.evaluate import Reader, heard_by
from voiceglm.evaluation.answers import holds_answer
from voiceglm.evaluation.spoken_lm import SETTINGS, log_likelihoods
from voiceglm.interleave import TEXT_ONLY, split
from voiceglm.language_model import Sampling, VoiceLM

IDS = "ids of pre-training"
"""``measure`` of the row that counts them (``count``)."""

_REPLY = Sampling(temperature=0.0, max_new_ids=80)


@dataclass(frozen=True)
class Judge:
    """Makes sound of codes and hears it.

    Attributes:
        decoder: Of the model that is measured with, in its default voice.
        recognizer: Listens.
    """

    decoder: Any
    recognizer: Reader

    def hear(self, codes: Sequence[int], relation: str, value: str) -> Row:
        """Return ``heard``, ``right_heard`` (holds the answer), and ``right_nearest``.

        The last is whether, among the answers of the relation, the right one is closest to what was
        heard, letter by letter; a tie is wrong.
        """
        samples = torch.zeros(0)
        if codes:
            samples = self._decode(codes)
        heard = heard_by(self.recognizer, samples, self.decoder.sample_rate)
        return {
            "heard": heard,
            "right_heard": holds_answer(heard, [value]),
            "right_nearest": nearest(heard, relation) == value,
        }

    def _decode(self, codes: Sequence[int]) -> Tensor:
        return self.decoder.decode(codes, generator=torch.Generator().manual_seed(0)).cpu()


def nearest(heard: str, relation: str) -> str | None:
    """Return the value whose answer is closest to what was heard; ``None`` for a tie."""
    edits = {
        value: character_errors([{"said": answer, "heard": heard}]).edits
        for value, answer in RELATIONS[relation].answers.items()
    }
    least = min(edits.values())
    found = [value for value, count in edits.items() if count == least]
    return found[0] if len(found) == 1 and heard else None


def ask(model: VoiceLM, material: Material) -> list[Row]:
    """Ask every question of the test, aloud and in writing.

    Returns:
        Rows of ``measure`` (``S->T`` or ``T->T``), ``item``, ``taught``, ``relation``, ``value``,
        ``reply``, ``right``; those of S->T also have the ``codes`` of the reply.
    """
    rows: list[Row] = []
    for number, asked in enumerate(tqdm(material.asked, desc="ask", unit="question")):
        writer = model.writer
        spoken = writer.opening("speech") + writer.speech_turn(asked["codes"])
        written = writer.opening("text") + writer.text_turn(asked["text"])
        for measure, prompt in (("S->T", spoken), ("T->T", written)):
            reply, codes = _reply(model, prompt)
            row = {"measure": measure, "item": number, **_about(asked), "reply": reply}
            row["right"] = holds_answer(reply, [asked["value"]])
            if measure == "S->T":
                row["codes"] = codes
            rows.append(row)
    return rows


def hear(rows: Sequence[Row], judge: Judge) -> list[Row]:
    """Hear the spoken replies among the rows of :func:`ask`.

    Returns:
        What :meth:`Judge.hear` gives for each row that has ``codes``, in order.
    """
    spoken = [row for row in rows if "codes" in row]
    replies = tqdm(spoken, desc="hear", unit="reply")
    return [judge.hear(row["codes"], row["relation"], row["value"]) for row in replies]


def _reply(model: VoiceLM, prompt: Sequence[int]) -> tuple[str, list[int]]:
    vocabulary = model.vocabulary
    ids = [each for each in model.generate(prompt, _REPLY) if each not in vocabulary.stop_ids]
    text, speech = split(ids, speech_start_id=vocabulary.speech_start_id)
    return model.decode_text(text).strip(), [vocabulary.code(each) for each in speech]


def write_down(model: VoiceLM, material: Material) -> list[Row]:
    """Have sentences written down: rows of ``measure`` (``asr``), ``item``, ``reply``, ``right``.

    Right is what has the name of the place.
    """
    rows: list[Row] = []
    end = model.vocabulary.end_of_transcription
    for number, said in enumerate(tqdm(material.names, desc="write down", unit="sentence")):
        prompt = model.writer.transcription_prompt(said["codes"])
        ids = model.generate(prompt, _REPLY, layout=TEXT_ONLY, stop_ids=[end])
        reply = model.decode_text([each for each in ids if each != end])
        right = holds_answer(reply, [said["place"]])
        rows.append({"measure": "asr", "item": number, "reply": reply, "right": right})
    return rows


def compare(model: VoiceLM, material: Material) -> list[Row]:
    """Compare the ends of every pair by their mean log-likelihood an id.

    Settings are those of :mod:`voiceglm.evaluation.spoken_lm`: S->S scores the whole sequence, the
    others the end alone. What is spoken is tokenized part by part, as spans are in training.

    Returns:
        Rows of ``measure`` (such as ``pairs S->S``), ``item``, ``right`` (a tie counts half).
    """
    rows: list[Row] = []
    for number, pair in enumerate(tqdm(material.endings, desc="compare", unit="pair")):
        for setting in SETTINGS:
            right, wrong = (_score(model, pair, pair[end], setting) for end in ("right", "wrong"))
            won = 0.5 * (right == wrong) + float(right > wrong)
            rows.append({"measure": f"pairs {setting}", "item": number, "right": won})
    return rows


def choose(model: VoiceLM, material: Material) -> list[Row]:
    """Find the likeliest of the twelve answers to every question of the test, by their sums.

    Returns:
        Rows of ``measure`` (``chosen S->T`` or ``chosen T->T``), ``item``, ``taught``,
        ``relation``, ``value``, ``reply``, ``right``.
    """
    rows: list[Row] = []
    start = [model.vocabulary.gmask, model.vocabulary.sop]
    for number, asked in enumerate(tqdm(material.asked, desc="choose", unit="question")):
        answers = RELATIONS[asked["relation"]].answers
        ends = {each: model.encode_text(f" {answer}") for each, answer in answers.items()}
        for modality in "ST":
            before = start + _ids(model, asked, asked["text"], modality)
            sums = {
                each: float(log_likelihoods(model, before, end).sum()) for each, end in ends.items()
            }
            reply = max(sums, key=sums.__getitem__)
            row = {"measure": f"chosen {modality}->T", "item": number, **_about(asked)}
            rows.append({**row, "reply": reply, "right": reply == asked["value"]})
    return rows


def _about(asked: Row) -> Row:
    return {name: asked[name] for name in ("taught", "relation", "value")}


def _score(model: VoiceLM, pair: Row, end: Row, setting: str) -> float:
    start = [model.vocabulary.gmask, model.vocabulary.sop]
    before = _ids(model, pair["before"], pair["before"]["text"], setting[0])
    after = _ids(model, end, f" {end['text']}", setting[-1])
    if setting == "S->S":
        return float(log_likelihoods(model, start, before + after).mean())
    return float(log_likelihoods(model, start + before, after).mean())


def _ids(model: VoiceLM, part: Row, text: str, modality: str) -> list[int]:
    return model.writer.speech(part["codes"]) if modality == "S" else model.encode_text(text)


def ceiling(material: Material, judge: Judge) -> list[Row]:
    """Hear every answer from its own codes: the most that S->S can reach."""
    answers = {row["text"]: row["codes"] for row in material.answers}
    rows: list[Row] = []
    for number, asked in enumerate(tqdm(material.asked, desc="ceiling", unit="answer")):
        answer = RELATIONS[asked["relation"]].answers[asked["value"]]
        heard = judge.hear(answers[answer], asked["relation"], asked["value"])
        rows.append({"measure": "ceiling", "item": number, **_about(asked), **heard})
    return rows
