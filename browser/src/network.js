// A network in a file of ONNX, with the states of its recurrent layers; see docs/onnx.md.
//
// `ort` is onnxruntime-web. `model` describes the file: targets, n_fft, n_hop, states (shapes).

export class Network {
  static async load(ort, bytes, model) {
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return new Network(ort, session, model);
  }

  constructor(ort, session, model) {
    Object.assign(this, { ort, session, model });
    this.states = model.states.map((shape) => {
      const length = shape.reduce((product, size) => product * size, 1);
      return new ort.Tensor("float32", new Float32Array(length), shape);
    });
  }

  // Masks (targets, frames, channels, bins) of the first `frames` of magnitudes (..., channels,
  // bins); the network sees the others as well. The states move on by `frames`.
  async masks(magnitudes, frames) {
    const { Tensor } = this.ort;
    const bins = this.model.n_fft / 2 + 1;
    const shape = [magnitudes.length / (2 * bins), 2, bins];
    const feeds = {
      magnitude: new Tensor("float32", magnitudes, shape),
      chunk: new Tensor("int64", [BigInt(frames)], [1]),
    };
    this.states.forEach((state, trunk) => (feeds[`state_${trunk}`] = state));
    const results = await this.session.run(feeds);
    this.states = this.states.map((_, trunk) => results[`next_state_${trunk}`]);
    return results.masks.data;
  }
}
