"""Reading deposits by link for programs: what `archipel fetch` is for people.

Who reads may be a program in whose process there is no node (``filesystem``, by ``background``), or one that asks a
node by HTTP or WebDAV. For all of them ``Shelf`` opens links and keeps what was opened for a while.
"""
