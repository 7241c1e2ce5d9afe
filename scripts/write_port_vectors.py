"""Write the test vectors of ``docs/onnx/``, which ports to other languages are checked against.

``python scripts/write_port_vectors.py`` makes a small model and separates noise with it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from openunmix.model import Architecture, Separator, share
from openunmix.predict import separate
from openunmix.predict.export import export_onnx
from openunmix.transforms.fourier import STFTConfig, stft

FOLDER = Path(__file__).parents[1] / "docs" / "onnx"
STFT = STFTConfig(256, 64, 8000.0)


def separator() -> Separator:
    """Two networks that share a trunk, with random weights."""
    torch.manual_seed(1)
    architecture = Architecture(hidden_size=8, nb_layers=2, compression=0.25, shared=True)
    networks = {target: architecture.build(STFT) for target in ("low", "high")}
    share(networks.values())
    model = Separator(networks, n_fft=STFT.n_fft, n_hop=STFT.n_hop, sample_rate=STFT.sample_rate)
    model.freeze()
    return model


def vectors() -> dict[str, torch.Tensor]:
    """All arrays by name."""
    model = separator()
    noise = torch.Generator().manual_seed(2)
    mixture = 0.1 * torch.randn(2, 1600, generator=noise)
    spectra = stft(mixture, STFT.n_fft, STFT.n_hop).permute(2, 0, 1)  # (frames, channels, bins)
    networks = model.target_models.values()
    masks = torch.stack([network.mask(spectra.abs()[:, None])[:, 0] for network in networks])
    model.niter = 1
    estimates = separate(mixture, STFT.sample_rate, separator=model)
    return {
        "mixture": mixture,
        "stft": torch.view_as_real(spectra.resolve_conj().contiguous()),
        "masks": masks,
        "estimates": torch.cat([estimates[target] for target in ("low", "high")]),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    export_onnx(separator(), FOLDER / "tiny.onnx", metadata={"licence": "CC0"})
    for name, values in vectors().items():
        values.numpy().astype("<f4").tofile(FOLDER / f"{name}.f32")
        print(name, tuple(values.shape))
