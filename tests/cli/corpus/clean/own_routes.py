from fastapi import APIRouter, FastAPI
from openai import AsyncOpenAI

app, router, client = FastAPI(), APIRouter(), AsyncOpenAI()


@app.post("/realtime/sessions")
async def mint():
    secret = await client.realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-realtime-2.1"})
    return {"value": secret.value, "expires_at": secret.expires_at}


@router.get("/api/realtime/sessions/{id}")
async def one(id: str):
    return {"id": id, "temperature": "none"}
