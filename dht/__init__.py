"""Who holds what: a Kademlia DHT on trio (docs/spec/dht.md).

``service`` is the entrance: :class:`dht.service.Dht`. Below it ``lookup``, ``announce`` and ``names`` ask others,
``answers``, ``providers`` and ``records`` serve them, ``calls`` keeps open transactions, ``routing`` and
``search`` decide whom to ask.
"""
