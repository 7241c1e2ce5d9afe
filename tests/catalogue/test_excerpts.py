import json
import tarfile

from helpers.catalogues import make_catalogue

from openunmix.catalogue import separate_row
from openunmix.catalogue.excerpts import write_excerpts
from openunmix.catalogue.settings import claim_output


def test_shards_hold_excerpts_of_all_stems_and_are_the_same_again(tmp_path, tiny_separator):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 3)
    claim_output(settings)
    for row in rows:
        separate_row(row, settings)
    for name in ("shards", "again"):
        folder = str(tmp_path / name)
        assert write_excerpts(rows, settings.output, folder, 0.2, per_song=2, per_shard=4) == 6
    files = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert files == ["excerpts-000000.tar", "excerpts-000001.tar"]
    for name in files:
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    with tarfile.open(tmp_path / "shards" / files[0]) as tar:
        names = tar.getnames()
        about = json.loads(tar.extractfile(names[2]).read())
    assert len(names) == 4 * 3
    assert [name.partition(".")[2] for name in names[:3]] == ["drums.flac", "vocals.flac", "json"]
    assert about["uri"] == rows[0]["uri"]
