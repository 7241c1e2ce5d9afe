// Plays stems in sync, draws them, and saves what is heard. The page brings all data.
//
// window.player is for scripts and tests. Times are in seconds, volumes in dB, stems are counted
// from 0 in the order of the page:
//   ready                      a promise, kept when everything is decoded
//   state()                    what is playing and how everything is set
//   play(), pause(), seek(time), setLoop(start, end), loop(on), listenTo("remix" | "original")
//   set(stem, {volume, pan, solo, mute}), reset()
//   levels()                   the loudest recent sample of the left and right output
//   render(stem)               a promise of an AudioBuffer: of one stem, or of the remix as it is set
//   wav(buffer)                that buffer as a Blob: 32-bit float WAV
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const duration = data.samples / data.sampleRate;
const $ = (id) => document.getElementById(id);

const QUIETEST = -40; // dB; the slider at its left end is silence
const SHORTEST_LOOP = 0.05; // seconds
const FADE = 0.008; // seconds in which gains follow, so that nothing clicks

const tracks = data.tracks.map((track, index) => ({
  ...track,
  index,
  isOriginal: index === data.original,
  volume: 0,
  pan: 0,
  solo: false,
  mute: false,
  buffer: null,
}));
const stems = tracks.filter((track) => !track.isOriginal);
const original = tracks[data.original] ?? null; // without one it is the sum of the stems

const state = { playing: false, position: 0, source: "remix", view: "waveform", loop: null, looping: false };

// ---- Bytes

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflate(picture) {
  const stream = new Blob([bytesOf(picture.data)]).stream();
  const inflated = stream.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

// ---- Audio: the same graph plays and renders

let live = null; // the graph that plays; browsers allow it after the first key or click
let sources = [];
let startedAt = 0; // on the clock of the context
let startedFrom = 0; // in the song

function isAudible(track) {
  return stems.some((stem) => stem.solo) ? track.solo : !track.mute;
}

function gainOf(track) {
  return track.volume <= QUIETEST || !isAudible(track) ? 0 : 10 ** (track.volume / 20);
}

function buildGraph(context) {
  const remix = new GainNode(context);
  const untouched = new GainNode(context);
  const output = new GainNode(context);
  remix.connect(output);
  untouched.connect(output);
  output.connect(context.destination);
  const strips = stems.map(() => {
    const gain = new GainNode(context);
    // Two channels even for mono: the panner would turn one channel down by 3 dB.
    const pan = new StereoPannerNode(context, { channelCount: 2, channelCountMode: "explicit" });
    gain.connect(pan).connect(remix);
    return { gain, pan };
  });
  return { context, remix, untouched, output, strips };
}

function startSources(graph, when, offset) {
  return tracks.map((track) => {
    const source = new AudioBufferSourceNode(graph.context, { buffer: track.buffer });
    if (graph === live && state.looping) {
      source.loop = true;
      source.loopStart = state.loop.start;
      source.loopEnd = state.loop.end;
    }
    if (!track.isOriginal) source.connect(graph.strips[track.index].gain);
    if (track.isOriginal || !original) source.connect(graph.untouched);
    source.start(when, offset);
    return source;
  });
}

function applySettings(graph) {
  const now = graph.context.currentTime;
  const set = (parameter, value) =>
    graph === live && state.playing
      ? parameter.setTargetAtTime(value, now, FADE)
      : parameter.cancelScheduledValues(now).setValueAtTime(value, now);
  const remixed = graph !== live || state.source === "remix";
  set(graph.remix.gain, remixed ? 1 : 0);
  set(graph.untouched.gain, remixed ? 0 : 1);
  stems.forEach((stem, number) => {
    set(graph.strips[number].gain.gain, gainOf(stem));
    set(graph.strips[number].pan.pan, stem.pan);
  });
}

function openOutput() {
  const context = new AudioContext({ sampleRate: data.sampleRate, latencyHint: "interactive" });
  live = buildGraph(context);
  const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
  live.output.connect(splitter);
  live.analysers = [0, 1].map((channel) => {
    const analyser = new AnalyserNode(context, { fftSize: 4096 });
    splitter.connect(analyser, channel);
    return analyser;
  });
}

function levels() {
  if (!live) return [0, 0];
  const samples = new Float32Array(live.analysers[0].fftSize);
  return live.analysers.map((analyser) => {
    analyser.getFloatTimeDomainData(samples);
    return samples.reduce((loudest, value) => Math.max(loudest, Math.abs(value)), 0);
  });
}

function position() {
  if (!state.playing) return state.position;
  const time = startedFrom + Math.max(0, live.context.currentTime - startedAt);
  if (!state.looping || time < state.loop.end) return Math.min(time, duration);
  const { start, end } = state.loop;
  return start + ((time - start) % (end - start));
}

async function play() {
  await ready;
  if (state.playing) return;
  if (!live) openOutput();
  await live.context.resume();
  if (state.position >= duration) state.position = 0;
  state.playing = true;
  restart(state.position);
}

function pause() {
  if (!state.playing) return;
  state.position = position();
  state.playing = false;
  stopSources();
  update();
}

function stopSources() {
  for (const source of sources) source.stop();
  sources = [];
}

function restart(from) {
  stopSources();
  applySettings(live);
  startedFrom = from;
  startedAt = live.context.currentTime + 0.02; // far enough for all to start at one sample
  sources = startSources(live, startedAt, from);
  update();
}

function seek(time) {
  const target = Math.min(Math.max(time, 0), duration);
  if (state.looping && (target < state.loop.start || target >= state.loop.end)) state.looping = false;
  moveTo(target);
}

function moveTo(time) {
  state.position = time;
  if (state.playing) restart(time);
  else update();
}

function setLoop(start, end) {
  const [first, last] = [start, end].map((time) => Math.min(Math.max(time, 0), duration));
  if (last - first >= SHORTEST_LOOP) changeLoop({ start: first, end: last }, true);
}

function loop(on) {
  if (state.loop) changeLoop(state.loop, on);
}

function changeLoop(region, on) {
  const time = position();
  Object.assign(state, { loop: region, looping: on });
  moveTo(on && (time < region.start || time >= region.end) ? region.start : time);
  say(on ? `Loop from ${clock(region.start)} to ${clock(region.end)}` : "Loop off");
}

function listenTo(source) {
  state.source = source;
  settle();
  say(source === "remix" ? "Remix" : "Original");
}

function set(index, settings) {
  Object.assign(stems[index], settings);
  settle();
}

function reset() {
  const time = position();
  for (const stem of stems) Object.assign(stem, { volume: 0, pan: 0, solo: false, mute: false });
  Object.assign(state, { loop: null, looping: false, source: "remix" });
  settle();
  moveTo(time);
  say("All settings as at first");
}

function settle() {
  if (live) applySettings(live);
  update();
}

async function render(index = null) {
  await ready;
  const context = new OfflineAudioContext(2, data.samples, data.sampleRate);
  if (index === null) {
    const graph = buildGraph(context);
    applySettings(graph);
    startSources(graph, 0, 0);
    return context.startRendering();
  }
  const { buffer, channels } = tracks[index];
  const result = context.createBuffer(channels, data.samples, data.sampleRate);
  for (let channel = 0; channel < channels; channel++) {
    result.copyToChannel(buffer.getChannelData(channel).subarray(0, data.samples), channel);
  }
  return result;
}

// ---- Saving

function wav(buffer) {
  const { numberOfChannels: channels, length, sampleRate } = buffer;
  const size = 4 * channels * length;
  const header = new DataView(new ArrayBuffer(58));
  const text = (at, word) => [...word].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 50 + size, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 18, true);
  header.setUint16(20, 3, true); // 32-bit float: nothing is clipped
  header.setUint16(22, channels, true);
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, 4 * channels * sampleRate, true);
  header.setUint16(32, 4 * channels, true);
  header.setUint16(34, 32, true);
  text(38, "fact");
  header.setUint32(42, 4, true);
  header.setUint32(46, length, true);
  text(50, "data");
  header.setUint32(54, size, true);
  const samples = new Float32Array(channels * length);
  for (let channel = 0; channel < channels; channel++) {
    const values = buffer.getChannelData(channel);
    for (let i = 0, at = channel; i < length; i++, at += channels) samples[at] = values[i];
  }
  return new Blob([header, samples], { type: "audio/wav" });
}

async function save(index, name) {
  say(`Making ${name}.wav`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(wav(await render(index)));
  link.download = `${fileName(data.title)} - ${fileName(name)}.wav`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`${name}.wav is made`);
}

function fileName(text) {
  return text.replace(/[^\p{L}\p{N} ()_.-]+/gu, "_").replace(/^\.+/, "").slice(0, 100) || "audio";
}

// ---- Drawing

// Lightness rises evenly from black to pale yellow, through blue and red: equal steps in dB look
// equal. Oklab by B. Ottosson, https://bottosson.github.io/posts/oklab (2020).
const COLOURS = Array.from({ length: 256 }, (_, value) => {
  const t = value / 255;
  const hue = ((275 + 190 * t) * Math.PI) / 180;
  const chroma = 0.19 * Math.sin(Math.PI * Math.min(1, 0.08 + t * 0.86)) ** 0.9;
  const [L, a, b] = [0.12 + 0.85 * t, chroma * Math.cos(hue), chroma * Math.sin(hue)];
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const bytes = linear.map((x) => 255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
  return new Uint8ClampedArray([...bytes, 255]);
});

function draw(track) {
  const { canvas } = track;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  if (!track.pixels || !canvas.width) return;
  canvas.setAttribute("aria-label", `${state.view} of ${track.isOriginal ? "the original" : track.name}`);
  const painter = canvas.getContext("2d");
  if (state.view === "waveform") drawWaveform(track, painter, canvas.width, canvas.height);
  else drawSpectrogram(track, painter, canvas.width, canvas.height);
}

function drawWaveform(track, painter, width, height) {
  const { columns, seconds } = track.waveform;
  const colour = getComputedStyle(track.canvas).color;
  const [peaks, means] = [0, 1].map((row) => track.pixels.subarray(row * columns, (row + 1) * columns));
  const bar = (values, x) => {
    const first = Math.floor(((x / width) * duration) / seconds);
    const last = Math.max(first + 1, Math.floor((((x + 1) / width) * duration) / seconds));
    let loudest = 0;
    for (let i = first; i < last && i < columns; i++) loudest = Math.max(loudest, values[i]);
    return Math.max(1, (loudest / 255) * height * 0.94);
  };
  painter.fillStyle = colour;
  for (const [values, alpha] of [[peaks, 0.42], [means, 1]]) {
    painter.globalAlpha = alpha;
    for (let x = 0; x < width; x++) {
      const size = bar(values, x);
      painter.fillRect(x, (height - size) / 2, 1, size);
    }
  }
}

function drawSpectrogram(track, painter, width, height) {
  track.image ??= imageOf(track);
  const { columns, seconds } = track.spectrogram;
  painter.imageSmoothingQuality = "high";
  painter.fillStyle = `rgb(${COLOURS[0].slice(0, 3)})`;
  painter.fillRect(0, 0, width, height);
  painter.drawImage(track.image, 0, 0, ((columns * seconds) / duration) * width, height);
}

function imageOf(track) {
  const { rows, columns } = track.spectrogram;
  const canvas = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  track.bands.forEach((value, i) => {
    const row = rows - 1 - Math.floor(i / columns); // low frequencies at the bottom
    image.data.set(COLOURS[value], 4 * (row * columns + (i % columns)));
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function drawAll() {
  tracks.forEach(draw);
  drawTicks();
}

function drawTicks() {
  const width = $("ticks").clientWidth;
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((s) => (s / duration) * width > 64) ?? 1800;
  const ticks = [];
  for (let i = 0; i * step < duration; i++) {
    const tick = document.createElement("span");
    tick.textContent = clock(i * step, step < 1 ? 1 : 0);
    tick.style.left = `${((i * step) / duration) * 100}%`;
    ticks.push(tick);
  }
  $("ticks").replaceChildren(...ticks);
}

// ---- What is seen and heard of the state

function clock(time, digits = 1) {
  const tenths = Math.floor(time * 10 + 1e-6);
  const [minutes, rest] = [Math.floor(tenths / 600), tenths % 600];
  const seconds = String(Math.floor(rest / 10)).padStart(2, "0");
  return `${minutes}:${seconds}` + (digits ? `.${rest % 10}` : "");
}

function say(text) {
  $("status").textContent = text;
}

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

function update() {
  $("play").setAttribute("aria-label", state.playing ? "Pause" : "Play");
  $("play").querySelector("use").setAttribute("href", state.playing ? "#icon-pause" : "#icon-play");
  for (const name of ["remix", "original"]) press($(name), state.source === name);
  for (const name of ["waveform", "spectrogram"]) press($(name), state.view === name);
  press($("loop"), state.looping);
  $("loop").disabled = !state.loop;
  document.body.dataset.source = state.source;
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
  const text = clock(time);
  if ($("time").textContent !== text) {
    $("time").textContent = text;
    $("position").value = time;
    $("position").setAttribute("aria-valuetext", `${clock(time)} of ${clock(duration)}`);
  }
}

function tick() {
  requestAnimationFrame(tick);
  if (!state.playing) return;
  showPosition();
  const peak = Math.max(...levels());
  const level = Math.max(0, 1 + (20 * Math.log10(peak + 1e-9)) / 48); // from -48 dBFS on
  $("meter").style.setProperty("--level", Math.min(1, level));
  if (peak > 1) $("clip").hidden = false;
  if (!state.looping && position() >= duration) {
    pause();
    moveTo(0);
  }
}

// ---- The page

function addTrack(track) {
  const row = $("track").content.cloneNode(true).firstElementChild;
  const part = (name) => row.querySelector(`.${name}`);
  const name = track.isOriginal ? "Original" : track.name;
  row.classList.toggle("is-original", track.isOriginal);
  row.style.setProperty("--colour", `var(--stem-${track.isOriginal ? "original" : track.index % 8})`);
  part("name").firstElementChild.textContent = name;
  part("name").title = name;
  track.canvas = row.querySelector("canvas");
  addLane(row.querySelector(".lane"));
  addDownload(part("download"), track, name);
  $("tracks").append(row);
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
    return;
  }
  link.onclick = (event) => {
    event.preventDefault();
    save(track.index, name);
  };
}

// A click goes there, a drag marks a loop.
function addLane(lane) {
  const [lowest, highest] = data.frequencies.map(Math.log);
  for (const frequency of [100, 1000, 10000]) {
    const height = (Math.log(frequency) - lowest) / (highest - lowest);
    if (height > 0.95) break;
    const label = Object.assign(document.createElement("span"), { className: "frequency" });
    label.textContent = frequency < 1000 ? `${frequency} Hz` : `${frequency / 1000} kHz`;
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

function setLoopEdge(edge) {
  const { start, end } = state.loop ?? { start: 0, end: duration };
  if (edge === "start") setLoop(position(), Math.max(end, position()) === position() ? duration : end);
  else setLoop(Math.min(start, position()) === position() ? 0 : start, position());
}

const KEYS = {
  " ": () => (state.playing ? pause() : play()),
  ArrowLeft: (event) => seek(position() - (event.shiftKey ? 1 : 5)),
  ArrowRight: (event) => seek(position() + (event.shiftKey ? 1 : 5)),
  Home: () => seek(0),
  End: () => seek(duration),
  0: reset,
  o: () => listenTo(state.source === "remix" ? "original" : "remix"),
  l: () => loop(!state.looping),
  s: () => show(state.view === "waveform" ? "spectrogram" : "waveform"),
  "[": () => setLoopEdge("start"),
  "]": () => setLoopEdge("end"),
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  // Whoever moves by keyboard means the control that has the focus.
  const control = event.target.closest?.("button, a, input");
  if (control?.matches(":focus-visible") && /^( |Enter|Arrow.*|Home|End)$/.test(event.key)) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) toggle(Number(digit[1]) - 1, event.shiftKey ? "mute" : "solo");
  else if (KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]) {
    KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key](event);
  } else return;
  event.preventDefault();
}

// ---- Start: draw at once, decode when the audio is there

const received = tracks.map(() => Promise.withResolvers?.() ?? withResolvers());

function withResolvers() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

function receive(index, base64) {
  received[index].resolve(base64);
}

function load(track) {
  if (!track.sidecar) {
    const element = $(`audio-${track.index}`);
    receive(track.index, element.textContent);
    element.remove();
    return;
  }
  const script = document.createElement("script");
  script.src = track.sidecar;
  script.onerror = () => received[track.index].reject(new Error(`${track.sidecar} is missing beside this page`));
  document.head.append(script);
}

async function decode(track) {
  const bytes = bytesOf(await received[track.index].promise);
  const context = new OfflineAudioContext(1, 1, data.sampleRate);
  track.buffer = await context.decodeAudioData(bytes.buffer);
}

async function decodeAll() {
  tracks.forEach(load);
  await Promise.all(tracks.map(decode));
  for (const id of ["play", "download-remix"]) $(id).disabled = false;
  say("Ready");
}

async function drawFirst() {
  await Promise.all(
    tracks.map(async (track) => {
      track.pixels = await inflate(track.waveform);
      track.bands = await inflate(track.spectrogram);
    }),
  );
  new ResizeObserver(drawAll).observe($("tracks"));
}

function setUp() {
  $("title").textContent = data.title;
  $("summary").textContent = `${stems.length === 1 ? "1 stem" : `${stems.length} stems`} · ${clock(duration, 0)}`;
  $("duration").textContent = `/ ${clock(duration)}`;
  $("position").max = duration;
  tracks.forEach(addTrack);
  for (const [name, value] of data.details) {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [name, value];
    $("details").append(term, text);
  }
  $("play").onclick = KEYS[" "];
  $("loop").onclick = KEYS.l;
  for (const name of ["remix", "original"]) $(name).onclick = () => listenTo(name);
  for (const name of ["waveform", "spectrogram"]) $(name).onclick = () => show(name);
  $("position").oninput = () => seek(Number($("position").value));
  $("clip").onclick = () => ($("clip").hidden = true);
  $("download-remix").onclick = () => save(null, "remix");
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  update();
  requestAnimationFrame(tick);
}

setUp();
const drawn = drawFirst();
const parsed = new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve));
const ready = Promise.all([drawn, parsed]).then(decodeAll);
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
