"""Connects, talks and drops the line, a thousand times: does anything stay behind?

    python benchmarks/drops.py [--cycles 1000] [-o drops.json]

Each cycle asks something in writing or aloud and hangs up without a word after a random number of
messages. Memory, tasks and sessions of the server are written down every fifty cycles.
"""

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path

import torch
from websockets.asyncio.client import connect

from voiceglm.audio import load_audio
from voiceglm.commands.chat import QUESTION
from voiceglm.files import write_file
from voiceglm.pretrained import load_chat
from voiceglm.report import commit
from web.codec import PCM, pack
from web.gate import Gate
from web.metrics import resident_mb
from web.server import Host, Server, ServerOptions

AT_ONCE = 4
EVERY = 50


async def cycle(url: str, sound: list[str], seed: int) -> None:
    """Talk for a while, then hang up."""
    rng = random.Random(seed)
    async with connect(url, compression=None) as socket:
        if seed % 2:
            for audio in sound[: rng.randrange(1, len(sound))]:
                event = {"type": "input_audio_buffer.append", "audio": audio}
                await socket.send(json.dumps(event))
        else:
            part = {"type": "input_text", "text": "What is the capital of France?"}
            item = {"type": "message", "role": "user", "content": [part]}
            await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await socket.send(json.dumps({"type": "response.create"}))
        try:
            for _ in range(rng.randrange(0, 30)):
                await asyncio.wait_for(socket.recv(), 0.5)
        except TimeoutError:
            pass
        socket.transport.abort()


async def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cycles", type=int, default=1_000)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    server = Server(Host(load_chat("nano"), ServerOptions(), Gate()))
    await server.start()
    url = f"ws://127.0.0.1:{server.port}/v1/realtime"
    samples = load_audio(QUESTION, PCM.rate).numpy()
    sound = [pack(PCM.write(samples[n : n + 2_400])) for n in range(0, len(samples), 2_400)]
    rows = []
    for done in range(0, args.cycles, AT_ONCE):
        if done % EVERY < AT_ONCE:
            await asyncio.sleep(1.0)  # for what was dropped to be noticed
            sessions, tasks = server.host.health()["sessions"], len(asyncio.all_tasks())
            rows.append([done, resident_mb(), tasks, sessions])
            sys.stderr.write(f"{rows[-1]}\n")
        await asyncio.gather(*(cycle(url, sound, done + n) for n in range(AT_ONCE)))
    await asyncio.sleep(2.0)
    rows.append(
        [args.cycles, resident_mb(), len(asyncio.all_tasks()), server.host.health()["sessions"]]
    )
    await server.stop()
    columns = ["cycles", "resident_mb", "tasks", "sessions"]
    result = {"commit": commit(), "columns": columns, "rows": rows}
    sys.stdout.write(json.dumps(result) + "\n")
    if args.output:
        write_file(args.output, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    asyncio.run(main())
