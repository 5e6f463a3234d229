# Python 2, still running somewhere
import websocket
print "connecting"
ws = websocket.create_connection("wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview", header=["OpenAI-Beta: realtime=v1"])  # expect: model-gone, beta-header
