"""Folders of this machine kept equal to what is in the drive (docs/architecture.md)."""
