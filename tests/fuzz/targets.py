"""Every target by its name."""

from tests.fuzz import accounts, channels, drives, files, names, receipts, sealed, storage, web, wire

TARGETS = {
    target.name: target
    for target in (
        *wire.TARGETS,
        *channels.TARGETS,
        *storage.TARGETS,
        *files.TARGETS,
        *receipts.TARGETS,
        *sealed.TARGETS,
        *drives.TARGETS,
        *names.TARGETS,
        *accounts.TARGETS,
        *web.TARGETS,
    )
}
