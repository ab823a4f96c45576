"""A request of one's own: from a list of files to a new encoder and a report to check it by."""

from cure_study.erasure.run import Erasure, forget

__all__ = ["Erasure", "forget"]
