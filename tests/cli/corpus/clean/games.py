"""A thermostat with sessions, a voice and a temperature, updated in realtime."""


class Session:
    voice = "soft"
    temperature = 21.5


def update(session):
    session.update({"voice": "loud", "temperature": 22})
    return {"type": "session", "session": {"voice": "loud", "speed": 3}, "turn_detection": "lidar"}


def real_time_bus(bus, config):
    bus.send({"type": "update", "session": {"temperature": 19}})
    config["modalities"] = ["bike", "bus"]
    config["voice"] = "off"
