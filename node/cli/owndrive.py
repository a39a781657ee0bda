"""The drive of a command's account: as the network has it, or as it was last seen here."""

from node.cli.output import note
from node.cli.recorded import BEGUN
from node.cli.text import seen_text
from node.drive.service import Change, DriveService
from node.errors import IntegrityFailure, MachineError, NetworkError, NodeError, NotFoundError
from protocol.drive import Drive
from protocol.drivecache import CachedDrive


async def read_drive(service: DriveService) -> CachedDrive:
    """The drive; if the network does not show it, the last copy, which is said then.

    Raises:
        NotFoundError, NetworkError, IntegrityFailure: There is no last copy either.
        MachineError: The last copy cannot be used.
    """
    try:
        return await service.read()
    except (NotFoundError, NetworkError, IntegrityFailure) as exc:
        cached = await service.client.world.blocking(service.cache.load)
        if cached == CachedDrive(drive=Drive()):
            if isinstance(exc, NotFoundError):
                return CachedDrive(drive=Drive())  # nothing was ever put into it
            raise
        note(f"note: the drive cannot be read now: {exc}; this is how it was {seen_text(cached.seen, cached.unsent)}")
        found: CachedDrive = cached
        return found


async def change_drive(service: DriveService, change: Change) -> bool:
    """Change the drive. If the change cannot be sent now, it is kept here, and that is said.

    Returns:
        Whether the network has it.

    Raises:
        NodeError: What ``change`` raises: nothing has changed.
        MachineError: This machine's disk.
    """
    await service.remember(change)
    try:
        await service.send()
    except MachineError:
        raise
    except NodeError as exc:
        note(f"note: the drive on the network is as it was: {exc}; the change is kept here, and goes with the next one")
        return False
    if service.begun:
        note(BEGUN)
    return True
