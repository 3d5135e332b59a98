"""openai-agents for Python: a realtime session, as its documentation has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession
from listening import Call, Ears, main


async def listen(session: RealtimeSession, ears: Ears, history: list[str]) -> None:
    """Note what the session tells its user, and who has spoken."""
    async for event in session:
        if event.type == "audio":
            ears.audio(len(event.audio.data))
        elif event.type == "audio_interrupted":
            ears.interrupted()
        elif event.type == "raw_model_event" and event.data.type == "transcript_delta":
            ears.text(event.data.delta)
        elif event.type == "raw_model_event" and event.data.type == "turn_ended":
            ears.done()
        elif event.type == "history_updated":
            history[:] = [item.role for item in event.history if item.type == "message"]
        elif event.type == "history_added" and event.item.type == "message":
            history.append(event.item.role)
        elif event.type == "error":
            raise RuntimeError(f"the session reports an error: {event.error}")


@asynccontextmanager
async def call(url: str) -> AsyncIterator[Call]:
    """Connect to a server."""
    ears, history = Ears(), []
    runner = RealtimeRunner(RealtimeAgent(name="compat", instructions=""))
    async with (
        await runner.run(model_config={"url": url, "api_key": "any"}) as session,
        asyncio.TaskGroup() as group,
    ):
        listening = group.create_task(listen(session, ears, history))
        yield Call(ears, session.send_audio, session.send_message, lambda: history)
        listening.cancel()


main(call)
