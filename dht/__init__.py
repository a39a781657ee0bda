"""Who holds what: a Kademlia DHT on trio (docs/spec/dht.md)."""
