#!/bin/sh
# Azure deployments are named by us
curl "https://x.openai.azure.com/openai/v1/realtime?model=gpt-4o-realtime-preview" -H "api-key: $K"
curl -s https://api.openai.com/v1/realtime/client_secrets -d '{"session":{"type":"realtime","model":"gpt-realtime"}}' | jq -r .value
curl https://api.openai.com/v1/audio/speech -d '{"model":"tts-1","voice":"alloy","input":"hi"}'
curl https://api.stripe.com/v1/payment_intents | jq -r .client_secret
