"""While a model loads, transformers is silent; afterwards it says what it said before."""

import threading

from transformers.utils import logging as messages

from imbert.model.loading import quiet


def test_silence_ends_with_the_last_thread_and_leaves_what_was() -> None:
    before = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity_info()
    messages.enable_progress_bar()
    inside, leave = threading.Event(), threading.Event()

    def load() -> None:
        with quiet():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=load)
    try:
        with quiet():
            other.start()
            assert inside.wait(10)
        assert messages.get_verbosity() == messages.ERROR, "the other thread is still inside"
        leave.set()
        other.join()
        assert messages.get_verbosity() == messages.INFO and messages.is_progress_bar_enabled()
    finally:
        leave.set()
        messages.set_verbosity(before[0])
        if not before[1]:
            messages.disable_progress_bar()
