"""The fault suite: kills, stops and cuts off the real processes, and counts the messages that arrive."""
