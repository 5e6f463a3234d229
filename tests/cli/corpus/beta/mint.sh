#!/usr/bin/env bash
set -euo pipefail
echo "minting a key for gpt-4o-realtime-preview"
curl -s -X POST https://api.openai.com/v1/realtime/transcription_sessions \ # expect: beta-endpoint
  -H "Authorization: Bearer $OPENAI_API_KEY" \
  -H 'Content-Type: application/json' \
  -d '{
    "input_audio_format": "pcm16", # expect: session-field
    "input_audio_transcription": {"model": "gpt-4o-mini-transcribe"}, # expect: session-field, model-ending
    "turn_detection": {"type": "server_vad"} # expect: session-field
  }' | jq -r .client_secret.value # expect: client-secret
