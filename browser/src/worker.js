// The worker: everything heavy. It gets {mixture, model, folder}, and posts {stage, done, total} while it
// works, then {files, pictures, loudest} or {error}. Files and pictures are those of the targets
// and of the original. To cancel, the worker is terminated.
import * as ort from "onnxruntime-web/wasm";
import { download } from "./download.js";
import { Network } from "./network.js";
import { Picture, playerPictures } from "./picture.js";
import { separate } from "./separation.js";
import { HEADER, Stems } from "./stems.js";
import { openFiles } from "./storage.js";

const here = (name) => new URL(name, self.location).href;

ort.env.wasm.wasmPaths = { wasm: here("ort-wasm-simd-threaded.wasm"), mjs: here("ort-wasm-simd-threaded.mjs") };
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
ort.env.logLevel = "error";

self.onmessage = ({ data }) => {
  run(data).catch(({ name, message }) => postMessage({ error: `${name}: ${message}` }));
};

async function run({ mixture, model, folder }) {
  const loading = (done) => postMessage({ stage: "loading", done, total: model.size });
  loading(0);
  const network = await Network.load(ort, await download(here(model.file), model.size, loading), model);
  const [samples, rate] = [mixture[0].length, model.sample_rate];
  const count = model.targets.length + 1;
  const bytes = 2 * count * mixture.length * samples;
  const stems = new Stems(await openFiles(folder, count, HEADER, bytes), mixture.length, rate);
  const pictures = Array.from({ length: count }, () => new Picture(rate, samples));
  // The network is stereo: mono is given to both channels, and the mean is the result.
  const isMono = mixture.length === 1;
  const separating = () => postMessage({ stage: "separating", done: stems.samples / rate, total: samples / rate });
  separating();
  for await (const estimates of separate(isMono ? [mixture[0], mixture[0]] : mixture, network)) {
    const parts = isMono ? estimates.map(mean) : estimates;
    const [first, last] = [stems.samples, stems.samples + parts[0][0].length];
    parts.push(mixture.map((channel) => channel.subarray(first, last)));
    stems.add(parts);
    parts.forEach((channels, stem) => pictures[stem].add(channels));
    separating();
  }
  postMessage({ files: await stems.finish(), pictures: await playerPictures(pictures), loudest: stems.loudest });
}

function mean([left, right]) {
  return [left.map((value, n) => (value + right[n]) / 2)];
}
