from hpcpipe.runtime.done_table import Counted
from hpcpipe.runtime.metrics import Metrics


def metrics(*shards):
    found = Metrics()
    for at, seconds, num_samples, stats in shards:
        found.add(
            Counted(
                event="done",
                attempt=1,
                shard=str(at),
                at=at,
                seconds=seconds,
                num_samples=num_samples,
                stats=stats,
            )
        )
    return found


def test_a_download_has_img2datasets_names_also_where_urls_are_tried_again():
    for counter in ("urls", "retried"):
        one = metrics((100.0, 10.0, 80, {counter: 100, "failed_to_resize.too_small": 20}))
        assert one.named("worker") == {
            "worker/img_per_sec": 10.0,
            "worker/count": 100,
            "worker/success": 0.8,
            "worker/failed_to_download": 0.0,
            "worker/failed_to_resize": 0.2,
        }


def test_the_total_is_over_the_time_from_the_first_begin_to_the_last_end():
    both = metrics((100.0, 10.0, 80, {}), (95.0, 10.0, 20, {}))
    assert both.named("total") == {
        "total/samples_per_s": 100 / 15,
        "total/count": 100,
        "total/shards": 2,
    }
    assert both.statuses() == []


def test_a_shard_without_samples_has_no_shares():
    one = metrics((100.0, 0.0, 0, {"urls": 0}))
    assert one.named("worker") == {"worker/img_per_sec": 0.0, "worker/count": 0}
    assert one.statuses() == []


def test_statuses_are_the_most_frequent_first():
    stats = {"urls": 100, "failed_to_download.dns": 5, "failed_to_download.http_404": 15}
    both = metrics((100.0, 10.0, 80, stats), (101.0, 1.0, 100, {"urls": 100}))
    assert both.statuses() == [("success", 0.9, 180), ("http_404", 0.075, 15), ("dns", 0.025, 5)]
