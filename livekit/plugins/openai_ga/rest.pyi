from livekit_plugins_openai_ga.rest import *
