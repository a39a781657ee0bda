"""WebDAV, for file managers and rclone: deposits by link, and the drive of an account that is unlocked. Read only.

WsgiDAV answers PROPFIND, the one method of the protocol that has rules of its own; it is given what there is to tell,
and asks for nothing. Files are answered as /v1/files does: streamed, without a thread.
"""
