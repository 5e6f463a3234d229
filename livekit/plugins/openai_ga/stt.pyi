from livekit_plugins_openai_ga.stt import *
from livekit_plugins_openai_ga.stt import NUM_CHANNELS as NUM_CHANNELS
from livekit_plugins_openai_ga.stt import SAMPLE_RATE as SAMPLE_RATE
