// The page: controls, keys and drawing. common.js, sound.js and pictures.js come before.
//
// window.player is for scripts and tests. Times are in seconds, volumes in dB, stems are numbered
// from 0 in the order of the page:
//   ready                      a promise, resolved when everything is decoded
//   state()                    playback state and all settings
//   play(), pause(), seek(time), setLoop(start, end), loop(on), listenTo("remix" | "original")
//   set(stem, {volume, pan, solo, mute}), reset()
//   levels()                   recent peaks of the left and right output
//   render(stem)               a promise of an AudioBuffer: of one stem, or of the current remix
//   wav(buffer)                that buffer as a Blob: 32-bit float WAV
"use strict";

const COLOURED = ["vocals", "drums", "bass", "other"]; // the same on every page

// ---- The state on the page

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function update() {
  byId("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
  byId("play").querySelector("use").setAttribute("href", state.playing ? "#icon-pause" : "#icon-play");
  for (const name of ["remix", "original"]) press(byId(name), state.source === name);
  for (const name of ["waveform", "spectrogram"]) press(byId(name), state.view === name);
  press(byId("loop"), state.looping);
  byId("loop").disabled = !state.loop;
  document.body.dataset.view = state.view;
  const style = document.body.style;
  style.setProperty("--loop-start", state.loop ? state.loop.start / duration : 0);
  style.setProperty("--loop-end", state.loop ? state.loop.end / duration : 0);
  document.body.classList.toggle("looping", state.looping);
  tracks.forEach((track) => track.show());
  showPosition();
}

function showPosition() {
  const time = position();
  document.body.style.setProperty("--position", time / duration);
  const text = clock(time, 1);
  if (byId("time").textContent !== text) {
    byId("time").textContent = text;
    byId("position").value = time;
    byId("position").setAttribute("aria-valuetext", `${text} of ${clock(duration, 1)}`);
  }
}

function tick() {
  requestAnimationFrame(tick);
  if (!state.playing) return;
  showPosition();
  const peak = Math.max(...levels());
  const level = Math.max(0, 1 + (20 * Math.log10(peak + 1e-9)) / 48); // from -48 dBFS
  byId("meter").style.setProperty("--level", Math.min(1, level));
  if (peak > 1) byId("clip").hidden = false;
  if (!state.looping && position() >= duration) {
    pause();
    moveTo(0);
  }
}

// ---- The page

function addTrack(track) {
  const row = byId("track").content.cloneNode(true).firstElementChild;
  const part = (name) => row.querySelector(`.${name}`);
  const name = track.isOriginal ? "Original" : track.name;
  row.style.setProperty("--colour", `var(--stem-${colourOf(track)})`);
  part("name").firstElementChild.textContent = name;
  part("name").title = name;
  track.canvas = row.querySelector("canvas");
  addLane(row.querySelector(".lane"));
  addDownload(part("download"), track, name);
  byId("tracks").append(row);
  track.show = () => row.classList.toggle("silent", isSilent(track));
  if (track.isOriginal) {
    for (const key of ["solo", "mute", "sliders"]) part(key).remove();
    return;
  }
  for (const key of ["solo", "mute"]) {
    part(key).setAttribute("aria-label", `${part(key).textContent} ${name}`);
    part(key).onclick = () => toggle(track.index, key);
  }
  const sliders = { volume: 1, pan: 100 };
  for (const [key, scale] of Object.entries(sliders)) {
    part(key).setAttribute("aria-label", `${key === "pan" ? "Pan" : "Volume"} of ${name}`);
    part(key).oninput = () => set(track.index, { [key]: Number(part(key).value) / scale });
    part(key).ondblclick = () => set(track.index, { [key]: 0 });
  }
  track.show = () => {
    row.classList.toggle("silent", isSilent(track));
    for (const key of ["solo", "mute"]) press(part(key), track[key]);
    for (const [key, scale] of Object.entries(sliders)) {
      const text = key === "pan" ? panText(track.pan) : volumeText(track.volume);
      part(key).value = track[key] * scale;
      part(key).setAttribute("aria-valuetext", text);
      part(`${key}-value`).textContent = text;
    }
  };
}

function colourOf(track) {
  if (track.isOriginal) return "original";
  return COLOURED.includes(track.name) ? COLOURED.indexOf(track.name) : 4 + (track.index % 4);
}

function isSilent(track) {
  if (track.isOriginal) return state.source === "remix";
  return state.source === "original" ? original !== null : gainOf(track) === 0;
}

function volumeText(volume) {
  if (volume <= QUIETEST) return "−∞ dB";
  return `${volume > 0 ? "+" : volume < 0 ? "−" : ""}${Math.abs(volume).toFixed(1)} dB`;
}

function panText(pan) {
  return pan ? `${pan < 0 ? "L" : "R"} ${Math.round(Math.abs(pan) * 100)}` : "C";
}

function toggle(index, key) {
  const stem = stems[index];
  if (!stem) return;
  set(index, { [key]: !stem[key] });
  say(`${stem.name}: ${key} ${stem[key] ? "on" : "off"}`);
}

function addDownload(link, track, name) {
  link.setAttribute("aria-label", `Download ${name}`);
  if (track.download) {
    link.href = track.download;
    if (track.fileName) link.download = track.fileName;
    else link.target = "_blank"; // from file://, Chromium opens the file instead of saving it
    return;
  }
  link.onclick = (event) => {
    event.preventDefault();
    save(track.index, name);
  };
}

// A click seeks, a drag sets the loop.
function addLane(lane) {
  const [lowest, highest] = data.frequencies.map(Math.log);
  for (const frequency of [100, 1000, 10000]) {
    const height = (Math.log(frequency) - lowest) / (highest - lowest);
    if (height > 0.95) break;
    const textContent = frequency < 1000 ? `${frequency} Hz` : `${frequency / 1000} kHz`;
    const label = make("span", { className: "frequency", textContent });
    label.style.bottom = `${height * 100}%`;
    lane.append(label);
  }
  let from = null;
  const timeAt = (event) => {
    const { left, width } = lane.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - left) / width, 0), 1) * duration;
  };
  lane.onpointerdown = (event) => {
    if (event.button) return;
    from = { x: event.clientX, time: timeAt(event), dragged: false };
    lane.setPointerCapture(event.pointerId);
  };
  lane.onpointermove = (event) => {
    if (!from || (!from.dragged && Math.abs(event.clientX - from.x) < 5)) return;
    from.dragged = true;
    const [start, end] = [from.time, timeAt(event)].sort((a, b) => a - b);
    document.body.style.setProperty("--loop-start", start / duration);
    document.body.style.setProperty("--loop-end", end / duration);
  };
  lane.onpointerup = (event) => {
    if (!from) return;
    const [start, end] = [from.time, timeAt(event)].sort((a, b) => a - b);
    if (from.dragged) setLoop(start, end);
    else seek(from.time);
    from = null;
  };
  lane.onpointercancel = () => {
    from = null;
    update();
  };
}

function show(view) {
  state.view = view;
  drawAll();
  update();
}

// An edge beyond the other one moves that to the start or the end of the track.
function setLoopEdge(edge) {
  const here = position();
  const { start, end } = state.loop ?? { start: 0, end: duration };
  if (edge === "start") setLoop(here, here < end ? end : duration);
  else setLoop(here > start ? start : 0, here);
}

const KEYS = {
  " ": () => (state.playing ? pause() : play()),
  ArrowLeft: (event) => seek(position() - (event.shiftKey ? 1 : 5)),
  ArrowRight: (event) => seek(position() + (event.shiftKey ? 1 : 5)),
  Home: () => seek(0),
  End: () => seek(duration),
  0: reset,
  a: () => listenTo(state.source === "remix" ? "original" : "remix"),
  l: () => loop(!state.looping),
  s: () => show(state.view === "waveform" ? "spectrogram" : "waveform"),
  i: () => setLoopEdge("start"),
  o: () => setLoopEdge("end"),
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  // With keyboard navigation, these keys are for the focused control.
  const control = event.target.closest?.("button, a, input");
  if (control?.matches(":focus-visible") && /^( |Enter|Arrow.*|Home|End)$/.test(event.key)) return;
  const key = event.code === "Digit0" ? "0" : event.key.replace(/^.$/, (c) => c.toLowerCase());
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) toggle(Number(digit[1]) - 1, event.shiftKey ? "mute" : "solo");
  else if (key in KEYS) KEYS[key](event);
  else return;
  event.preventDefault();
}

async function save(index, name) {
  say(`Rendering ${name}.wav`);
  const href = URL.createObjectURL(wav(await render(index)));
  make("a", { href, download: `${fileName(data.title)} - ${fileName(name)}.wav` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
  say(`${name}.wav is saved`);
}

function fileName(text) {
  return text.replace(/[^\p{L}\p{N} ()_.-]+/gu, "_").replace(/^\.+/, "").slice(0, 100) || "audio";
}

function drawAll() {
  tracks.forEach(draw);
  drawTicks();
}

function drawTicks() {
  const width = byId("ticks").clientWidth;
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
  const step = steps.find((seconds) => (seconds / duration) * width > 64) ?? 1800;
  const ticks = [];
  for (let i = 0; ((duration - i * step) / duration) * width > 36; i++) {
    const tick = make("span", { textContent: clock(i * step, step < 1 ? 1 : 0) });
    tick.style.left = `${((i * step) / duration) * 100}%`;
    ticks.push(tick);
  }
  byId("ticks").replaceChildren(...ticks);
}

// ---- Start: draw at once, decode when the audio has been parsed

async function drawFirst() {
  await Promise.all(
    tracks.map(async (track) => {
      track.pixels = await inflate(track.waveform);
      track.bands = await inflate(track.spectrogram);
    }),
  );
  new ResizeObserver(drawAll).observe(byId("tracks"));
}

function setUp() {
  byId("title").textContent = data.title;
  byId("summary").textContent = `${stems.length === 1 ? "1 stem" : `${stems.length} stems`} · ${clock(duration)}`;
  byId("duration").textContent = `/ ${clock(duration, 1)}`;
  byId("position").max = duration;
  tracks.forEach(addTrack);
  for (const [name, value] of data.details) {
    byId("details").append(make("dt", { textContent: name }), make("dd", { textContent: value }));
  }
  byId("play").onclick = KEYS[" "];
  byId("loop").onclick = KEYS.l;
  for (const name of ["remix", "original"]) byId(name).onclick = () => listenTo(name);
  for (const name of ["waveform", "spectrogram"]) byId(name).onclick = () => show(name);
  byId("position").oninput = () => seek(Number(byId("position").value));
  byId("clip").onclick = () => (byId("clip").hidden = true);
  byId("download-remix").onclick = () => save(null, "remix");
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  update();
  requestAnimationFrame(tick);
}

setUp();
const drawn = drawFirst();
const parsed = new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve));
const ready = Promise.all([drawn, parsed]).then(decodeAll).then(() => {
  for (const id of ["play", "download-remix"]) byId(id).disabled = false;
  say("Ready");
});
ready.catch((error) => say(`The audio cannot be played: ${error.message}`));

window.player = {
  ready, drawn, receive, play, pause, seek, setLoop, loop, listenTo, set, reset, levels, render, wav, show,
  state: () => ({
    ...state,
    position: position(),
    duration,
    stems: stems.map(({ name, volume, pan, solo, mute }) => ({ name, volume, pan, solo, mute })),
  }),
};
