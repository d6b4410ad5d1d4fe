"""The live stream of events, and the tickets that open it in a browser."""

from fastapi import FastAPI

from taskmanager.features import Feature
from taskmanager.maintenance.jobs import purge_job
from taskmanager.stream.broker import Broker
from taskmanager.stream.dependencies import get_stream_feed
from taskmanager.stream.feed import StreamFeed
from taskmanager.stream.repository import EventReader
from taskmanager.stream.routes import router
from taskmanager.stream.statements import PURGE_TICKETS
from taskmanager.stream.upkeep import Upkeep


def prepare(app: FastAPI) -> None:
    """Give the application its streams, and their metrics."""
    state = app.state
    entities = [entity for feature in state.features for entity in feature.entities]
    broker = Broker()
    reader = EventReader(state.reads, state.epochs, entities)
    state.tailer.audience = broker
    state.stream_feed = StreamFeed(
        reader, broker, state.epochs, state.followers, state.tailer, state.settings.max_streams_per_user
    )
    state.stream_upkeep = Upkeep(broker, reader)
    state.drain.on_start.append(state.stream_feed.close)
    metrics = state.metrics
    metrics.watch_gauge("event_streams", "Open streams of events.", lambda: len(broker.streams))
    metrics.watch_gauge(
        "event_ring_bytes", "Events that are kept for streams that come back.", lambda: broker.ring.bytes
    )
    metrics.watch_counter("event_frames", "Events given to streams, once for each stream.", lambda: broker.frames)
    metrics.watch_counters("event_stream_ends", "Streams that ended.", lambda: broker.endings, label="reason")


async def look_after_streams(app: FastAPI) -> None:
    """Do for all streams together what is due, as long as there are any."""
    await app.state.stream_upkeep.run()


FEATURE = Feature(
    routers=(router,),
    prepare=prepare,
    provides={get_stream_feed: "stream_feed"},
    background=(look_after_streams,),
    jobs=(purge_job("purge tickets", PURGE_TICKETS, lambda _: {}),),
)
