#!/bin/sh
# websocat, as the beta's guide had it (gpt-4o-realtime-preview)
MODEL=gpt-4o-realtime-preview # expect: model-gone
websocat -H "Authorization: Bearer $OPENAI_API_KEY" \
  -H "OpenAI-Beta: realtime=v1" \ # expect: beta-header
  "wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview-2024-12-17" <<'JSON' # expect: model-gone
{"type": "session.update", "session": {"modalities": ["text"], "temperature": 0.6}} # expect: session-type, session-field, session-field
{"type": "response.create"}
JSON
