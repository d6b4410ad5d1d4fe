"""The order that people give to things: where a thing is put, and the keys that hold the order."""
