"""Sealed segments for whoever opens and seals them elsewhere, such as a page (docs/spec/web.md): no key is here."""
