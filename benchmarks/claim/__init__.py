"""The claim of speech-text pre-training, in small: does what was only read get told when heard?

    python -m benchmarks.claim OUT --model nano --recognizer runs/nano/recognizer/model

Facts that occur only as text in pre-training are asked by voice, after fine-tuning on other facts.
Three arms are trained, with several seeds each, on the very same ids: ``full`` with interleaved
speech-text documents, ``none`` with the same speech and the same text in documents of their own,
``half`` with one half of the documents each way. After Zeng et al. 2024 (arXiv 2411.17607), who
report 31 % against 13 % for spoken answers to spoken questions; there the 13 % is the best model
before theirs, not theirs without interleaved data.

The world (:mod:`benchmarks.claim.world`)
    48 places, each with ten facts drawn by lot, each one of twelve words, so that nothing can be
    guessed: chance is one in twelve. Five facts are *tested* (animal, colour, food, ruler,
    product), five are *common* (sport, instrument, tree, month, treasure). Half of the places are
    *taught*: all of their facts may be heard. Of the others, common facts may be heard and tested
    facts are *only read*: no sound that names such a place holds any of the sixty tested words,
    wherever it is used, in whatever arm.

What every arm sees alike
    - A beginning, once for each seed, that all of its arms go on from: text (40 % of the ids) and
      paired speech (60 %). A name that is not understood leads to no fact, interleaved or not.
    - Text (25 % of the ids of pre-training): descriptions, and questions with answers, of all
      places. This is all that anybody learns of the tested facts of only-read places.
    - Paired speech (15 %), three quarters to be written down (asr) and a quarter to be read aloud
      (tts): single sentences, of stories and of facts that may be heard. So every name and every
      answer is heard, and is paired with how it is written.
    - Fine-tuning: questions about the facts that may be heard, of all places, asked by many
      voices or in writing, and answered in writing and in the one voice of the assistant. An answer
      ("It is the horse.") does not repeat the name of the place, so it cannot be spelled out first
      and looked up in writing.

What differs (60 % of the ids)
    Documents: stories that name two places and hold no answer, and descriptions and questions of
    what may be heard of every place. Each is cut into spans of words, every span both written and
    spoken (by one voice for a document). From them two rows are made:

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
    - The same questions before fine-tuning: is the right one the likeliest of the relation's twelve
      answers, behind the question as it is spoken or written?
    - Pairs by likelihood, before fine-tuning: a spoken sentence that names an only-read place, and
      its right or a wrong end, as StoryCloze is scored (:mod:`voiceglm.evaluation.spoken_lm`).
    - Names written down from speech (asr): whether places are understood at all.

Questions and pairs are the same in all runs. Intervals are of 95 %, over questions and seeds
together. A batch has a fixed number of ids with its padding, so the ids without padding differ a
little between arms; they are counted and stand in the table. ``--world`` draws other facts and
other places that are only read: settings are chosen on world 1, and world 0 is what is reported.
"""
