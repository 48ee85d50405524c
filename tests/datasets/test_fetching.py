"""Fetched files: verified and cached; and a clear message without a network."""

import gzip
import hashlib
import http.server
import threading

import pytest

import transformer_lab.datasets as datasets
from transformer_lab.datasets import corpora, pairs
from transformer_lab.datasets.fetching import cache_folder, fetch
from transformer_lab.files.paths import FileError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def server():
    """A local web server: `files` by path, and the requested paths."""
    files: dict[str, bytes] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    web.files, web.asked, web.url = files, asked, f"http://127.0.0.1:{web.server_port}"
    yield web
    web.shutdown()
    web.server_close()


NOWHERE = "http://127.0.0.1:9/input.txt"  # nothing listens there, as if offline


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_fetched_once(server, cache):
    server.files["/x"] = b"content"
    for _ in range(2):
        path = fetch(f"{server.url}/x", _sha256(b"content"), name="x.txt")
        assert path == cache / "x.txt"
        assert path.read_bytes() == b"content"
    assert server.asked == ["/x"]


def test_an_unknown_sha256_is_recorded_and_then_holds(server, cache):
    server.files["/x"] = b"first"
    fetch(f"{server.url}/x", None, name="x.txt")
    assert (cache / "x.txt.sha256").read_text().strip() == _sha256(b"first")
    (cache / "x.txt").unlink()
    server.files["/x"] = b"changed"
    with pytest.raises(FileError, match="no longer serves the file with sha256"):
        fetch(f"{server.url}/x", None, name="x.txt")
    assert not (cache / "x.txt").exists()
    (cache / "x.txt").write_bytes(b"damaged")
    with pytest.raises(FileError, match="is damaged; delete it to download it again"):
        fetch(f"{server.url}/x", None, name="x.txt")


def test_another_file_at_the_url_is_refused(server, cache):
    server.files["/x"] = b"other"
    with pytest.raises(FileError, match="no longer serves the file"):
        fetch(f"{server.url}/x", "0" * 64, name="x.txt")
    assert not (cache / "x.txt").exists()


@pytest.mark.badinput
def test_without_a_network_the_file_and_its_place_are_named(server, cache, monkeypatch):
    monkeypatch.setattr(corpora, "TINY_SHAKESPEARE", NOWHERE)
    with pytest.raises(FileError) as error:
        datasets.tiny_shakespeare()
    message = str(error.value)
    assert str(cache / "tiny_shakespeare.txt") in message
    assert NOWHERE in message
    assert "copy it to this path, or pass path=" in message

    monkeypatch.setattr(pairs, "MULTI30K", f"{server.url}/missing/")
    with pytest.raises(
        FileError,
        match=r"multi30k-train\.en\.gz: is missing.*copy it to this path, or pass folder= with your copies, such as train\.en\.gz",
    ):
        datasets.multi30k("de")


def test_a_file_put_there_by_hand_is_found(cache, monkeypatch):
    monkeypatch.setattr(corpora, "TINY_SHAKESPEARE", NOWHERE)
    text = b"Speak, speak.\n" * 100
    monkeypatch.setattr(corpora, "TINY_SHAKESPEARE_SHA256", _sha256(text))
    cache.mkdir()
    (cache / "tiny_shakespeare.txt").write_bytes(text)
    assert datasets.tiny_shakespeare().text.encode() == text


@pytest.mark.badinput
def test_a_copy_given_by_path_is_checked(tmp_path):
    path = tmp_path / "mine.txt"
    with pytest.raises(FileError, match=r"mine\.txt: no such file; download https"):
        datasets.tiny_shakespeare(path=path)
    path.write_text("something else")
    with pytest.raises(FileError, match=r"mine\.txt: has sha256 .* it is not the file at"):
        datasets.tiny_shakespeare(path=path)


def _multi30k(language="de"):
    """Fake copies of the published files, with text of our own."""
    parts = {"train": 60, "val": 9, "test_2016_flickr": 7}
    files = {}
    for part, n in parts.items():
        for side, word in (("en", "picture"), (language, "Bild")):
            # the last training pair is also the first validation pair
            numbers = [*range(n - 1), "shared"] if part == "train" else ["shared", *range(n - 1)]
            mark = "" if part == "train" else part
            lines = [f"{word} {i}." if i == "shared" else f"{word} {mark}{i}." for i in numbers]
            files[f"{part}.{side}.gz"] = gzip.compress(("\n".join(lines) + "\n").encode())
    return files


def test_multi30k_is_fetched_read_and_split(server, monkeypatch):
    server.files |= {f"/{name}": data for name, data in _multi30k().items()}
    monkeypatch.setattr(pairs, "MULTI30K", f"{server.url}/")
    data = datasets.multi30k("de", tokenizer="word")
    assert (len(data.train), len(data.held_out)) == (59, 9)  # the shared pair is held out
    assert data.train[3].source == "picture 3."
    assert data.train[3].target == "Bild 3."
    assert not {p.source for p in data.train} & {p.source for p in data.held_out}
    assert len(datasets.multi30k("de", tokenizer="word", held_out="test").held_out) == 7
    assert sorted(server.asked) == sorted(f"/{name}" for name in _multi30k())


def test_multi30k_from_a_folder(tmp_path):
    for name, data in _multi30k("fr").items():
        (tmp_path / name).write_bytes(data)
    data = datasets.multi30k("fr", folder=tmp_path)
    pair = data.train[0]
    assert data.tokenizer.decode(data.tokenizer.encode(pair.target)) == pair.target
    (tmp_path / "val.fr.gz").write_bytes(b"no gzip")
    with pytest.raises(FileError, match=r"val\.fr\.gz: is not a complete gzip file"):
        datasets.multi30k("fr", folder=tmp_path)
    (tmp_path / "val.fr.gz").write_bytes(gzip.compress(b"eins\n"))
    with pytest.raises(FileError, match="has 1 lines, but"):
        datasets.multi30k("fr", folder=tmp_path)


def test_the_size_of_the_vocabulary_of_multi30k_can_be_chosen(tmp_path):
    for name, data in _multi30k().items():
        (tmp_path / name).write_bytes(data)
    data = datasets.multi30k(folder=tmp_path, vocab_size=270)
    assert data.vocab_size == 270
    assert data.tokenizer.decode(data.tokenizer.encode("Ein Bild.")) == "Ein Bild."
    with pytest.raises(ValueError, match="vocab_size=270 is for tokenizer='bpe', not 'word'"):
        datasets.multi30k(folder=tmp_path, tokenizer="word", vocab_size=270)
    with pytest.raises(ValueError, match=r"vocab_size must be at least 261 .* got 100"):
        datasets.multi30k(folder=tmp_path, vocab_size=100)


def test_the_cache_can_be_chosen(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TRANSFORMER_LAB_CACHE")
    assert cache_folder().name == "transformer-lab"


@pytest.mark.badinput
def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="language must be one of 'de', 'fr', got 'it'"):
        datasets.multi30k("it")
    with pytest.raises(ValueError, match="held_out must be one of 'val', 'test', got 'dev'"):
        datasets.multi30k("de", held_out="dev")
