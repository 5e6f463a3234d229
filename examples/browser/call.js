"use strict";

const button = document.getElementById("button");
const status = document.getElementById("status");
const transcript = document.getElementById("transcript");
const speaker = document.getElementById("speaker");
const NAMES = { user: "You", assistant: "Shop" };

const BY_ITSELF = new URLSearchParams(location.search).has("secret");

let call = null;

button.onclick = () => (call ? stop("Call ended") : start());

async function start() {
  button.disabled = true;
  transcript.replaceChildren();
  say("Connecting");
  try {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    const peer = new RTCPeerConnection();
    call = { microphone, peer };
    microphone.getTracks().forEach((track) => peer.addTrack(track, microphone));
    peer.ontrack = (event) => (speaker.srcObject = event.streams[0] ?? new MediaStream([event.track]));
    peer.onconnectionstatechange = () => follow(peer);
    const events = peer.createDataChannel("oai-events");
    events.onmessage = (message) => heard(JSON.parse(message.data));
    await peer.setLocalDescription();
    const answer = await (BY_ITSELF ? callByItself : callByServer)(peer.localDescription.sdp);
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    button.textContent = "Stop";
    button.className = "stop";
  } catch (error) {
    stop(error.message, true);
  }
  button.disabled = false;
}

async function post(url, body = "", headers = {}) {
  const answer = await fetch(url, { method: "POST", body, headers });
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

function callByServer(offer) {
  return post("/call", offer);
}

async function callByItself(offer) {
  const { url, secret } = await (await post("/secret")).json();
  const answer = await post(url, offer, { Authorization: `Bearer ${secret}`, "Content-Type": "application/sdp" });
  await post("/made", answer.headers.get("Location"));
  return answer;
}

function stop(why, bad = false) {
  call?.microphone.getTracks().forEach((track) => track.stop());
  call?.peer.close(); // OpenAI ends the call, and tells the agent on the server
  call = null;
  button.textContent = "Call";
  button.className = "";
  say(why, bad);
}

function follow(peer) {
  if (call?.peer !== peer) return;
  if (peer.connectionState === "connected") say("Connected: speak");
  if (["failed", "closed"].includes(peer.connectionState)) stop("Call ended");
}

function say(text, bad = false) {
  status.textContent = text;
  status.className = bad ? "bad" : "";
}

// The events are those of the WebSocket, without the audio.
const HANDLERS = {
  "conversation.item.added": ({ item }) => item.type === "message" && NAMES[item.role] && row(item.id, item.role),
  "conversation.item.input_audio_transcription.delta": (event) => write(event.item_id, event.delta),
  "conversation.item.input_audio_transcription.completed": (event) => finish(event.item_id, event.transcript),
  "response.output_audio_transcript.delta": (event) => write(event.item_id, event.delta),
  "response.output_audio_transcript.done": (event) => finish(event.item_id, event.transcript),
  "response.function_call_arguments.done": (event) => finish(row(event.item_id, "tool").id, `${event.name}(${event.arguments})`),
  error: (event) => say(event.error.message, true),
};

function heard(event) {
  HANDLERS[event.type]?.(event);
}

function row(id, kind) {
  const known = document.getElementById(id);
  if (known) return known;
  const item = document.createElement("li");
  item.id = id;
  item.className = `${kind} waiting`;
  if (NAMES[kind]) item.append(Object.assign(document.createElement("small"), { textContent: NAMES[kind] }));
  item.append(document.createElement("span"));
  transcript.append(item);
  return item;
}

function write(id, text) {
  const item = document.getElementById(id);
  if (item) item.querySelector("span").textContent += text;
}

function finish(id, text) {
  const item = document.getElementById(id);
  if (!item) return;
  item.querySelector("span").textContent = text;
  item.classList.remove("waiting");
}
