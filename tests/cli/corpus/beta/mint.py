import os

import httpx
from fastapi import FastAPI

app = FastAPI()


@app.post("/session")
async def session():
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            "https://api.openai.com/v1/realtime/sessions",  # expect: beta-endpoint
            headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
            json={
                "model": "gpt-4o-mini-realtime-preview",  # expect: model-gone
                "voice": "verse",  # expect: session-field
                "modalities": ["audio", "text"],  # expect: session-field
                "instructions": "You sell shoes.",
            },
        )
    data = answer.json()
    return {"token": data["client_secret"]["value"]}  # expect: client-secret
