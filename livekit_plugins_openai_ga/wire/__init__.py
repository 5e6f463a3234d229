"""The GA Realtime protocol as data: endpoints, events, items and session payloads. Standard library only."""
