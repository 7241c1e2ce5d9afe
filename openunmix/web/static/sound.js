// Audio: decoding, the graph that plays and renders the stems, WAV files. Changes of the state
// are shown by update() of player.js.
"use strict";

// Of this page, or, where it has none, of the page in whose frame it is: browser/src/player.js.
const data = JSON.parse(byId("data").textContent) ?? parent.playerData;
const duration = data.samples / data.sampleRate;

const QUIETEST = -40; // dB; the left end of the slider is silence
const SHORTEST_LOOP = 0.05; // seconds
const FADE = 0.008; // seconds, time constant of changes of gain, against clicks
const PIECE = 2 * data.sampleRate; // samples that are scheduled at once
const AHEAD = 3; // pieces that are scheduled

const tracks = data.tracks.map((track, index) => ({
  ...track,
  index,
  isOriginal: index === data.original,
  volume: 0,
  pan: 0,
  solo: false,
  mute: false,
  read: null, // a range of samples: a list of Float32Arrays, one a channel, or a promise of it
}));
const stems = tracks.filter((track) => !track.isOriginal);
const original = tracks[data.original] ?? null; // null: the sum of the stems

const state = {
  playing: false,
  position: 0,
  source: "remix",
  view: "waveform",
  loop: null,
  looping: false,
};

// ---- Decoding

// The audio of each track: in base64 from this page or from a script beside it, or as the function
// `read` from the page around it.
const received = tracks.map(() => {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
});

function receive(index, audio) {
  received[index].resolve(audio);
}

function load(track) {
  if (!track.sidecar) {
    const element = byId(`audio-${track.index}`);
    if (!element) return; // the page around this one calls receive()
    receive(track.index, element.textContent);
    element.remove();
    return;
  }
  const problem = new Error(`${track.sidecar} is missing beside this page`);
  const onerror = () => received[track.index].reject(problem);
  document.head.append(make("script", { src: track.sidecar, onerror }));
}

async function decode(track, audio) {
  track.read = typeof audio === "string" ? await decoded(audio) : audio;
  const done = tracks.filter((other) => other.read).length;
  say(`Decoding: ${done} of ${tracks.length}`);
}

async function decoded(base64) {
  const context = new OfflineAudioContext(1, 1, data.sampleRate);
  const buffer = await context.decodeAudioData(bytesOf(base64).buffer);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
  return (first, last) => channels.map((values) => values.subarray(first, last));
}

async function decodeAll() {
  tracks.forEach(load);
  const audio = await Promise.all(received.map((result) => result.promise));
  await Promise.all(tracks.map((track) => decode(track, audio[track.index])));
  received.length = 0; // frees the base64
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// ---- The graph, the same for playback and rendering

let live = null; // the graph of playback; browsers allow it after the first key or click
let pieces = []; // that are scheduled: lists of sources
let startedAt = 0; // time of the context
let startedFrom = 0; // position in the track

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
    // Two channels even for mono, which the panner would attenuate by 3 dB.
    const pan = new StereoPannerNode(context, { channelCount: 2, channelCountMode: "explicit" });
    gain.connect(pan).connect(remix);
    return { gain, pan };
  });
  return { context, remix, untouched, output, strips };
}

const sampleAt = (time) => Math.round(time * data.sampleRate);

// Ranges of samples that are played from one on, `count` together unless the track ends: a loop
// comes around.
function rangesFrom(sample, count) {
  const { start, end } = state.looping ? state.loop : { start: duration, end: duration };
  const limit = sampleAt(end);
  const ranges = [];
  for (let first = sample; count > 0; ) {
    if (first === limit) first = sampleAt(start);
    const last = Math.min(first + count, limit);
    if (first === last) break;
    ranges.push([first, last]);
    count -= last - first;
    first = last;
  }
  return ranges;
}

// Ranges of a track, one after the other; what it has not is silent.
async function bufferOf(track, ranges) {
  const reads = {}; // by range: that of a short loop is read once
  for (const range of ranges) reads[range] ??= track.read(...range);
  const parts = await Promise.all(ranges.map((range) => reads[range]));
  const length = ranges.reduce((sum, [first, last]) => sum + last - first, 0);
  const numberOfChannels = parts[0].length;
  const buffer = new AudioBuffer({ numberOfChannels, length, sampleRate: data.sampleRate });
  let start = 0;
  ranges.forEach(([first, last], number) => {
    parts[number].forEach((values, channel) => buffer.copyToChannel(values, channel, start));
    start += last - first;
  });
  return buffer;
}

const buffersOf = (ranges) => Promise.all(tracks.map((track) => bufferOf(track, ranges)));

function startSources(graph, buffers, when) {
  return tracks.map((track, number) => {
    const source = new AudioBufferSourceNode(graph.context, { buffer: buffers[number] });
    if (!track.isOriginal) source.connect(graph.strips[track.index].gain);
    if (track.isOriginal || !original) source.connect(graph.untouched);
    source.start(when);
    return source;
  });
}

const settings = () => stems.map((stem) => ({ gain: gainOf(stem), pan: stem.pan }));

function applySettings(graph, ofStems = settings(), smoothly = false) {
  const now = graph.context.currentTime;
  const set = (parameter, value) =>
    smoothly
      ? parameter.setTargetAtTime(value, now, FADE)
      : parameter.cancelScheduledValues(now).setValueAtTime(value, now);
  const remixed = graph !== live || state.source === "remix";
  set(graph.remix.gain, remixed ? 1 : 0); // switched by gain, so that time does not jump
  set(graph.untouched.gain, remixed ? 0 : 1);
  ofStems.forEach(({ gain, pan }, number) => {
    set(graph.strips[number].gain.gain, gain);
    set(graph.strips[number].pan.pan, pan);
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
  const waiting = setTimeout(() => say("No sound: the browser finds no audio output"), 2000);
  await live.context.resume();
  clearTimeout(waiting);
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
  for (const source of pieces.flat()) source.stop();
  pieces = [];
}

function restart(from) {
  stopSources();
  applySettings(live);
  startedFrom = from;
  startedAt = Infinity; // until the first piece is read
  schedule(sampleAt(from), pieces).catch((error) => {
    pause();
    say(`The audio cannot be played: ${error.message}`);
  });
  update();
}

// Schedule piece after piece, each to the sample, until `scheduled` is replaced or the track ends.
async function schedule(sample, scheduled) {
  const rate = data.sampleRate; // of the context, too
  let ranges = rangesFrom(sample, PIECE);
  for (let number = 0, frame = 0; ranges.length; number++, frame += PIECE) {
    const buffers = await buffersOf(ranges);
    if (scheduled !== pieces) return;
    // Far enough ahead for all tracks to start at the same sample, even if reading took too long.
    frame = Math.max(frame, Math.ceil((live.context.currentTime + 0.02) * rate));
    startedAt = (frame - number * PIECE) / rate;
    scheduled.push(startSources(live, buffers, frame / rate));
    if (scheduled.length === AHEAD) {
      await new Promise((resolve) => (scheduled[0][0].onended = resolve));
      scheduled.shift();
    }
    ranges = rangesFrom(ranges.at(-1)[1], PIECE);
  }
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
  const [first, last] = [start, end].map((time) => sampleAt(Math.min(Math.max(time, 0), duration)) / data.sampleRate);
  if (last - first >= SHORTEST_LOOP) changeLoop({ start: first, end: last }, true);
}

function loop(on) {
  if (state.loop) changeLoop(state.loop, on);
}

function changeLoop(region, on) {
  const time = position();
  Object.assign(state, { loop: region, looping: on });
  moveTo(on && (time < region.start || time >= region.end) ? region.start : time);
  say(on ? `Loop from ${clock(region.start, 1)} to ${clock(region.end, 1)}` : "Loop off");
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
  say("All settings reset");
}

function settle() {
  if (live) applySettings(live, settings(), state.playing);
  update();
}

async function render(index = null) {
  await ready;
  if (index !== null) return bufferOf(tracks[index], [[0, data.samples]]);
  const ofStems = settings(); // as they are now
  const result = new AudioBuffer({ numberOfChannels: 2, length: data.samples, sampleRate: data.sampleRate });
  for (let first = 0; first < data.samples; first += PIECE) {
    const last = Math.min(first + PIECE, data.samples);
    const graph = buildGraph(new OfflineAudioContext(2, last - first, data.sampleRate));
    applySettings(graph, ofStems);
    startSources(graph, await buffersOf([[first, last]]), 0);
    const part = await graph.context.startRendering();
    for (const channel of [0, 1]) result.copyToChannel(part.getChannelData(channel), channel, first);
  }
  return result;
}

// ---- Files

function wav(buffer) {
  const { numberOfChannels: channels, length, sampleRate } = buffer;
  const frame = 4 * channels; // bytes
  const words = (...values) => new Uint32Array(values);
  const header = [
    "RIFF", words(50 + frame * length), "WAVE",
    // Format 3 is 32-bit float, which does not clip.
    "fmt ", words(18), new Uint16Array([3, channels]), words(sampleRate, frame * sampleRate),
    new Uint16Array([frame, 32, 0]),
    "fact", words(4, length),
    "data", words(frame * length),
  ];
  const samples = new Float32Array(channels * length);
  for (let channel = 0; channel < channels; channel++) {
    const values = buffer.getChannelData(channel);
    for (let i = 0, at = channel; i < length; i++, at += channels) samples[at] = values[i];
  }
  return new Blob([...header, samples], { type: "audio/wav" });
}
