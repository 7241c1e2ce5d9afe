// The pipeline against the test vectors of docs/onnx, in Node. `make site` makes the model.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import * as ort from "onnxruntime-web/wasm";
import { Fourier } from "../src/fourier.js";
import { Network } from "../src/network.js";
import { separate } from "../src/separation.js";

const VECTORS = new URL("../../docs/onnx/", import.meta.url);
const MODEL = new URL("../../build/browser/tiny", import.meta.url);
const LENGTH = 1600;

ort.env.wasm.numThreads = 1;

function vector(name) {
  const bytes = readFileSync(new URL(`${name}.f32`, VECTORS));
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

// Largest difference, relative to the largest value.
function difference(found, expected) {
  assert.equal(found.length, expected.length);
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  return found.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i])), 0) / largest;
}

function channels(values, length = LENGTH) {
  return Array.from({ length: values.length / length }, (_, i) => values.subarray(i * length, (i + 1) * length));
}

const model = () => JSON.parse(readFileSync(`${MODEL.pathname}.json`));
const network = () => Network.load(ort, new Uint8Array(readFileSync(`${MODEL.pathname}.onnx`)), model());

async function estimates(mixture, lengths) {
  const parts = [];
  for await (const part of separate(mixture, await network(), lengths)) parts.push(part.flat());
  return parts[0].map((_, row) => Float32Array.from(parts.flatMap((part) => [...part[row]])));
}

test("spectra are those of the package", () => {
  const fourier = new Fourier(256, 64);
  const mixture = channels(vector("mixture"));
  const frames = Array.from({ length: 26 }, (_, number) => [...fourier.analyse(mixture, number)]);
  assert.ok(difference(frames.flat(), vector("stft")) < 1e-5);
});

test("estimates are those of the package", async () => {
  const found = await estimates(channels(vector("mixture")));
  assert.ok(difference(found.flatMap((row) => [...row]), vector("estimates")) < 1e-4);
});

test("chunks that see everything after them are exact", async () => {
  const mixture = channels(vector("mixture"));
  const whole = await estimates(mixture, { chunk: 100, lookahead: 0, window: 5 });
  const chunks = await estimates(mixture, { chunk: 5, lookahead: 21, window: 5 });
  for (const row of whole.keys()) assert.ok(difference(chunks[row], whole[row]) < 1e-5);
});

test("any length comes out as it went in", async () => {
  for (const length of [1, 2, 127, 128, 129, 130, 1000]) {
    const mixture = channels(vector("mixture")).map((channel) => channel.slice(0, length));
    const found = await estimates(mixture, { chunk: 3, lookahead: 2, window: 3 });
    assert.deepEqual(found.map((row) => row.length), [length, length, length, length]);
    assert.ok(found.every((row) => row.every(Number.isFinite)));
  }
});

test("silence stays silent", async () => {
  const found = await estimates([new Float32Array(900), new Float32Array(900)]);
  assert.ok(found.every((row) => row.every((value) => value === 0)));
});

test("estimates sum to the mixture", async () => {
  const mixture = channels(vector("mixture"));
  const found = await estimates(mixture);
  for (const channel of [0, 1]) {
    const sum = found[channel].map((value, n) => value + found[2 + channel][n]);
    assert.ok(difference(sum, mixture[channel]) < 1e-2);
  }
});
