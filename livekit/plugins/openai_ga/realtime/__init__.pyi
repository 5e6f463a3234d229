from livekit_plugins_openai_ga.realtime import *
from livekit_plugins_openai_ga.realtime import realtime_model as realtime_model
from livekit_plugins_openai_ga.realtime import utils as utils
