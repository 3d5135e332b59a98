"""The claim of speech-text pre-training, in small: does what was only read get told when heard?

    python -m benchmarks.claim OUT --model nano --recognizer runs/nano/recognizer/model

Facts that occur only as text in pre-training are asked by voice, after fine-tuning on the facts of
other places. Three arms are trained, with several seeds each, on the very same ids: ``full`` with
interleaved speech-text documents, ``none`` with the same speech and the same text in documents
of their own, ``half`` with one half of the documents each way. After Zeng et al. 2024 (arXiv
2411.17607), who report 31 % against 13 % for spoken answers to spoken questions; there the 13 % is
the best model before theirs, not theirs without interleaved data.

The world (:mod:`benchmarks.claim.world`)
    120 places, each with five facts drawn by lot: its animal, colour, food, ruler and product, each
    one of twelve words. Nothing can be guessed: chance is one in twelve. Half of the places are
    *taught*, the others *only read*. No sound that names an only-read place holds any of the sixty
    words of answers, wherever it is used, in whatever arm.

What every arm sees alike
    - Text (30 % of the ids of pre-training): descriptions, and questions with answers, of all
      places. This is all that anybody learns of the facts of only-read places.
    - Paired speech (10 %), half of it to be written down (asr) and half to be read aloud (tts):
      single sentences of stories about any place, and of facts of taught places. So every name and
      every answer is heard, and is paired with how it is written.
    - Fine-tuning: questions about taught places, asked by many voices or in writing, and answered
      in writing and in the one voice of the assistant. An answer ("It is the horse.") does not
      repeat the name of the place, so it cannot be spelled out first and looked up in writing.

What differs (60 % of the ids)
    Documents: stories that name two places and hold no answer, and descriptions and questions of
    taught places. Each is cut into spans of words, every span both written and spoken (by one voice
    for a document). From them two rows are made:

    - interleaved: the odd spans as text and the even ones as speech, and the other way round;
    - apart: all spans as text, and all spans as speech.

    Both have the same ids, each of them once: only the order differs. ``half`` interleaves every
    other document. Steps, batches, optimizer and seeds are the same as well.

Speech is espeak-ng's, made into codes by the model's speech tokenizer; spans are spoken directly
and not written by a text-to-token model, so that no fact passes through a model that could have
learned it elsewhere. Questions of the test come from voices that no training heard. The language
model is trained from nothing, with a text tokenizer of its own.

What is measured, for every run (:mod:`benchmarks.claim.measure`)
    - Questions about only-read places: S->T, the written reply to the spoken question holds the
      answer; S->S, the recognizer hears it in the spoken reply; T->T, asked in writing, the upper
      bound. As a control the same of taught places. S->S is also marked by which of the relation's
      twelve answers is closest, letter by letter, to what was heard, since a small recognizer
      misspells; and the ceiling of both, true codes through decoder and recognizer, is reported.
    - Pairs by likelihood, before fine-tuning: a spoken sentence that names an only-read place, and
      its right or a wrong end, as StoryCloze is scored (:mod:`voiceglm.evaluation.spoken_lm`).
    - Names written down from speech (asr): whether places are understood at all.

Questions and pairs are the same in all runs. Intervals are of 95 %, over questions and seeds
together. A batch has a fixed number of ids with its padding, so the ids without padding differ a
little between arms; they are counted and stand in the table. ``--world`` draws other facts and
other places that are only read: settings are chosen on world 1, and world 0 is what is reported.
"""
