import json

from hpcpipe.formats import download_stats
from hpcpipe.formats.download_stats import DownloadStats
from tests.formats.shards import failure, success


def test_many_different_messages_keep_the_frequent_ones(monkeypatch):
    monkeypatch.setattr(download_stats, "MAX_MESSAGES", 10)
    stats = DownloadStats(0.0, images=True)
    for index in range(100):
        stats.add(success(index))
        stats.add(failure(index, error_message="HTTP 404"))
        stats.add(failure(index, error_message=f"certificate of h{index}", error_class="tls"))
        assert len(json.loads(stats.to_json(1.0))["status_dict"]) <= 10
    told = json.loads(stats.to_json(1.0))
    assert list(told["status_dict"].items())[:2] == [("success", 100), ("HTTP 404", 100)]
    assert told["error_classes"] == {"http_404": 100, "tls": 100}
    assert (told["count"], told["successes"], told["failed_to_download"]) == (300, 100, 200)


def test_counts_before_the_first_row():
    told = json.loads(DownloadStats(5.0, images=False).to_json(7.0))
    assert (told["count"], told["duration"], told["failed_to_subsample"]) == (0, 2.0, 0)


def test_what_was_downloaded_of_failures_counts_as_bytes():
    stats = DownloadStats(0.0, images=True)
    stats.add(failure(0, status="failed_to_resize", num_bytes=700))
    assert stats.num_bytes == 700
