#!/bin/sh
# Before: https://api.openai.com/v1/realtime/sessions with OpenAI-Beta: realtime=v1
curl -s https://api.openai.com/v1/realtime/client_secrets \
  -H "Authorization: Bearer $OPENAI_API_KEY" -H "Content-Type: application/json" \
  -d '{"session": {"type": "realtime", "model": "gpt-realtime-2.1", "audio": {"output": {"voice": "marin"}}}}'
echo "the days of gpt-4o-realtime-preview and response.audio.delta are over"
curl -s https://api.openai.com/v1/chat/completions -d '{"model": "gpt-4o", "temperature": 0.2, "modalities": ["text"]}'
