from livekit_plugins_openai_ga.translation import *
