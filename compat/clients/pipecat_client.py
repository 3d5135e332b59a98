"""pipecat-ai: its realtime service in a pipeline whose loudspeaker only takes the time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from listening import RATE, Call, Ears, main
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner


class Loudspeaker(BaseOutputTransport):
    """Takes as long as a real one."""

    async def start(self, frame: StartFrame) -> None:
        """Be ready at once."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Wait while the frame would sound."""
        await asyncio.sleep(frame.num_frames / frame.sample_rate)
        return True


class Listener(FrameProcessor):
    """Notes what passes between the service and the loudspeaker.

    Args:
        ears: Where it is noted.
    """

    def __init__(self, ears: Ears):
        super().__init__()
        self._ears = ears

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note a frame and pass it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._ears.audio(len(frame.audio))
        elif isinstance(frame, TTSTextFrame):
            self._ears.text(frame.text)
        elif isinstance(frame, InterruptionFrame):
            self._ears.interrupted()
        elif isinstance(frame, BotStoppedSpeakingFrame) and direction is FrameDirection.UPSTREAM:
            self._ears.done()
        await self.push_frame(frame, direction)


@asynccontextmanager
async def call(url: str) -> AsyncIterator[Call]:
    """Connect to a server."""
    # Without transcripts, which are off by default: the first one would make the pipeline ask for
    # a reply that the server has already begun. Its context then lacks what was said aloud.
    ears, settings = Ears(), OpenAIRealtimeLLMService.Settings(model="nano")
    service = OpenAIRealtimeLLMService(api_key="any", base_url=url, settings=settings)
    aggregators = LLMContextAggregatorPair(LLMContext())
    loudspeaker = Loudspeaker(TransportParams(audio_out_enabled=True))
    stages = [aggregators.user(), service, Listener(ears), loudspeaker, aggregators.assistant()]
    rates = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
    worker = PipelineWorker(Pipeline(stages), params=rates)

    async def send(piece: bytes) -> None:
        frame = InputAudioRawFrame(audio=piece, sample_rate=RATE, num_channels=1)
        await worker.queue_frame(frame)

    async def ask(text: str) -> None:
        message = {"role": "user", "content": text}
        await worker.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as group:
        group.create_task(runner.run())
        try:
            yield Call(ears, send, ask)
        finally:
            await worker.cancel()


main(call)
