"""The demo's page offers the voices that the server speaks with."""

import re

from voiceglm.chat import VoiceChat
from web.demo import page
from web.gate import Gate
from web.server import Host, ServerOptions


def test_the_page_offers_every_voice_the_one_that_speaks_first(models: VoiceChat) -> None:
    names: list[str] = ["default", "alice", "ben"]
    voices = dict.fromkeys(names, models.decoder)
    for voice, order in (("", ["default", "alice", "ben"]), ("ben", ["ben", "default", "alice"])):
        host = Host(models, ServerOptions(voice=voice), Gate(), voices)
        assert list(host.voices) == order
        assert re.findall(r"<option>(.*?)</option>", page(host.voices)) == order
        host.close()


def test_names_are_no_html() -> None:
    assert "<option>a&lt;b</option>" in page(["a<b"])
