from livekit_plugins_openai_ga.realtime.utils import *
