// OpenAI's own client for Node: `node openai_sdk.mjs question.wav` (24 kHz, mono, 16 bit).
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { OpenAI } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const session = {
  type: "realtime",
  instructions: "Be brief.",
  tools: [{ type: "function", name: "get_weather", parameters: { type: "object" } }],
  audio: {
    input: { transcription: { model: "gpt-transcribe" }, turn_detection: { type: "server_vad" } },
    output: { voice: "marin" },
  },
};
let speaking = false;
let sound = 0;

// The client takes OPENAI_BASE_URL and OPENAI_API_KEY.
const connection = new OpenAIRealtimeWS({ model: "gpt-realtime-2.1" }, new OpenAI());

async function speak(path) {
  const pcm = Buffer.concat([readFileSync(path).subarray(44), Buffer.alloc(48 * 1000)]);
  for (let start = 0; start < pcm.length; start += 4800) {
    const audio = pcm.subarray(start, start + 4800).toString("base64");
    connection.send({ type: "input_audio_buffer.append", audio });
    await sleep(100);
  }
}

connection.on("session.created", () => {
  connection.send({ type: "session.update", session });
  connection.send({ type: "response.create" });
});
connection.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
connection.on("conversation.item.input_audio_transcription.completed", (event) => {
  console.log("user:", event.transcript);
});
connection.on("response.function_call_arguments.done", (event) => {
  console.log("tool:", event.name, event.arguments);
  const item = { type: "function_call_output", call_id: event.call_id, output: "sunny" };
  connection.send({ type: "conversation.item.create", item });
});
connection.on("response.output_audio.delta", (event) => {
  sound += Buffer.from(event.delta, "base64").length;
});
connection.on("response.output_audio_transcript.done", (event) => {
  console.log("agent:", event.transcript);
});
connection.on("response.done", async (event) => {
  if (event.response.output[0].type === "function_call") {
    connection.send({ type: "response.create" });
  } else if (!speaking) {
    speaking = true;
    await speak(process.argv[2]);
  } else {
    console.log(`sound: ${(sound / 48000).toFixed(1)} s`);
    connection.close();
    process.exit(0);
  }
});
