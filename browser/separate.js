// The pipeline of the page without the page, for benchmarks: one thread of Node.
//   node separate.js MODEL.onnx SITE.json MIXTURE.f32 ESTIMATES.f32
// The mixture is (2, samples) of 32-bit floats; so are the estimates, (targets, 2, samples). Prints
// the seconds that separating took, as JSON.
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { Network } from "./src/network.js";
import { separate } from "./src/separation.js";

const [modelFile, siteFile, mixtureFile, estimatesFile] = process.argv.slice(2);

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const { models } = JSON.parse(readFileSync(siteFile));
const model = models.find(({ file }) => file === basename(modelFile));
const network = await Network.load(ort, new Uint8Array(readFileSync(modelFile)), model);
const bytes = readFileSync(mixtureFile);
const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const samples = values.length / 2;
const estimates = new Float32Array(model.targets.length * values.length);

const start = performance.now();
let position = 0;
for await (const parts of separate([values.subarray(0, samples), values.subarray(samples)], network)) {
  parts.flat().forEach((part, row) => estimates.set(part, row * samples + position));
  position += parts[0][0].length;
}
const seconds = (performance.now() - start) / 1000;
writeFileSync(estimatesFile, new Uint8Array(estimates.buffer));
console.log(JSON.stringify({ seconds, audio: samples / model.sample_rate }));
