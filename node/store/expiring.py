"""What has ended is removed from the disk, at intervals: chunks that no lease keeps, records of names."""

import logging
import sqlite3

import trio

from node.blocking import Blocking
from node.clock import Clock
from node.store.chunkstore import ChunkStore
from node.store.recordfile import RecordFile
from node.store.refusal import Refusal

log = logging.getLogger(__name__)

EXPIRE_SECONDS = 600.0


async def run_expiry(
    store: ChunkStore, records: RecordFile, clock: Clock, blocking: Blocking, trash_seconds: float
) -> None:
    """Until cancelled: every EXPIRE_SECONDS, or ``trash_seconds`` if that is less."""
    while True:
        try:
            removed = await blocking(store.expire)
            if removed:
                log.info("removed %d chunks whose leases have ended", removed)
        except Refusal as exc:
            log.error("could not remove expired chunks: %s", exc)
        try:
            await blocking(records.expire, clock.wall())
        except sqlite3.Error as exc:
            log.error("could not remove expired records of names: %s", exc)
        await trio.sleep(min(EXPIRE_SECONDS, trash_seconds))
