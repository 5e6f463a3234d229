from livekit_plugins_openai_ga.recording import *
