"""What the tests share: seeded noise, small networks, folders of stems."""

from __future__ import annotations

import signal

import pytest
import soundfile
import torch

from openunmix.model import OpenUnmix, Separator


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Compute in one thread: everything here is small, and the machine may be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """Let commands hear signals that they ignore where tests run in the background, or by nohup."""
    handlers = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def generator():
    """Return a source of random numbers that is the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def tiny_network():
    """Return a function that makes a network as if it were trained; another one for each seed."""
    return _tiny_network


@pytest.fixture(scope="session")
def tiny_separator():
    """Return a function that makes a separator of tiny networks, in evaluation mode."""
    return _tiny_separator


def _tiny_network(seed=0, nb_bins=65, nb_channels=2, hidden_size=8, **settings):
    noise = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OpenUnmix(nb_bins, nb_channels, hidden_size, **settings)
    with torch.no_grad():
        network.input_mean.normal_(-0.5, 0.2, generator=noise)
        network.input_scale.uniform_(0.5, 2, generator=noise)
        network.output_scale.uniform_(0.2, 0.5, generator=noise)
        network.output_mean.uniform_(0.2, 0.5, generator=noise)
        for layer in (network.bn1, network.bn2, network.bn3):
            layer.weight.uniform_(0.5, 1.5, generator=noise)
            layer.bias.normal_(0, 0.3, generator=noise)
            layer.running_mean.normal_(0, 0.3, generator=noise)
            layer.running_var.uniform_(0.5, 2, generator=noise)
    return network.eval()


def _tiny_separator(
    targets=("vocals", "drums"), n_fft=128, n_hop=32, nb_channels=2, network=None, **settings
):
    networks = {
        target: _tiny_network(seed, n_fft // 2 + 1, nb_channels, **(network or {}))
        for seed, target in enumerate(targets)
    }
    defaults = {"niter": 1, "sample_rate": 8000.0}
    settings = {**defaults, "nb_channels": nb_channels, **settings}
    return Separator(networks, n_fft=n_fft, n_hop=n_hop, **settings).eval()


@pytest.fixture
def track_folder(tmp_path):
    """Return a function that writes stems, waveforms by file name, to a folder of ``tracks``."""

    def write(name, stems, sample_rate=8000):
        folder = tmp_path / "tracks" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, waveform in stems.items():
            soundfile.write(folder / file, waveform.T.numpy(), sample_rate)
        return folder

    return write


@pytest.fixture(autouse=True, scope="session")
def _decoded_folder(tmp_path_factory):
    """Keep what datasets convert away from the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENUNMIX_DECODED", str(tmp_path_factory.mktemp("decoded")))
        yield


@pytest.fixture
def default_type():
    """Set torch's default type of numbers, for this test."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.fixture
def bfloat16(monkeypatch):
    """Let bfloat16 be used on every processor; on some it is slow, but right."""
    monkeypatch.setattr("openunmix.predict._runtime._has_bfloat16", lambda: True)


@pytest.fixture
def work_folder(tmp_path, monkeypatch):
    """Work in an empty folder, without a network and without a cache."""
    for name in ("OPENUNMIX_MIRROR", "OPENUNMIX_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
