"""Files may end or stop the process that reads them; the others are read all the same."""

import pytest

from faulty_work import work
from understudy.data.check.workers import Lost, each


@pytest.mark.timeout(120)
def test_an_item_that_ends_or_stops_its_process_is_lost_alone(tmp_path):
    expected = {
        "dies": "reading it ended the process: SIGSEGV",
        "exits": "reading it ended the process: exit code 3",
        "hangs": "nothing came of reading it for 3 s",
        "memory": "it asks for more memory than there is",
        "raises": "reading it failed: RuntimeError: no reader is perfect",
        "lives": None,
        f"once {tmp_path}/died": None,
        **{f"good {number}": None for number in range(20)},
    }
    found = dict(each(work, expected, 2, patience_s=3))
    assert found == {
        item: item.upper() if reason is None else Lost(reason) for item, reason in expected.items()
    }


def test_who_stops_asking_leaves_no_process(tmp_path):
    import multiprocessing

    results = each(work, ["good", "hangs", "hangs too"], 2)
    assert next(results) == ("good", "GOOD")
    results.close()
    assert not multiprocessing.active_children()
