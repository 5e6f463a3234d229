#!/usr/bin/env bash
set -e
MODEL=${MODEL:-gpt-4o-realtime-preview}  # expect: model-gone
TOKEN=$(curl -s -X POST https://api.openai.com/v1/realtime/sessions \  # expect: beta-endpoint
  -H "Authorization: Bearer $OPENAI_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model": "gpt-4o-realtime-preview-2024-12-17", "modalities": ["audio", "text"], "voice": "verse"}' \  # expect: model-gone, session-field, session-field
  | jq -r .client_secret.value)  # expect: client-secret
websocat "wss://api.openai.com/v1/realtime?model=$MODEL" \
  -H "Authorization: Bearer $TOKEN" -H "OpenAI-Beta: realtime=v1"  # expect: beta-header
curl -X POST https://api.openai.com/v1/realtime/transcription_sessions -H "Authorization: Bearer $OPENAI_API_KEY"  # expect: beta-endpoint
