from livekit_plugins_openai_ga.realtime.realtime_model import *
