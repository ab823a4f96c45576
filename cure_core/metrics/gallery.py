"""Identification against a gallery of enrolled people."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from cure_core.metrics.arrays import as_array, unit_rows


def rank_one(
    probe: torch.Tensor | ArrayLike,
    probe_people: ArrayLike,
    gallery: torch.Tensor | ArrayLike,
    gallery_people: ArrayLike,
    restrict_to: ArrayLike | None = None,
) -> float:
    """The share of probes that `rank_one_hits` finds, in [0, 1]; it raises the same errors."""
    hits = rank_one_hits(probe, probe_people, gallery, gallery_people, restrict_to)
    return float(np.mean(hits))


def rank_one_hits(
    probe: torch.Tensor | ArrayLike,
    probe_people: ArrayLike,
    gallery: torch.Tensor | ArrayLike,
    gallery_people: ArrayLike,
    restrict_to: ArrayLike | None = None,
) -> np.ndarray:
    """Rank-1 identification: the probes whose nearest template is that of their person.

    A template is the normalised mean of a person's normalised gallery embeddings; the nearest has
    the highest cosine. A tie of the correct template with another counts as missed, so a collapsed
    encoder scores 0. The gallery's embeddings are the teacher's for templates enrolled before
    unlearning, the student's for re-enrolled ones.

    Shapes: probe (P, D), probe_people (P,), gallery (G, D), gallery_people (G,). `restrict_to`
    names the people whose templates are searched, by default all in the gallery; fewer is
    easier. Returns (P,) bool. Raises ValueError for empty embeddings, NaN, lengths that
    differ, or a probe whose person is not searched.
    """
    probe, gallery = unit_rows(probe, "probe"), unit_rows(gallery, "gallery")
    probe_people, gallery_people = as_array(probe_people), as_array(gallery_people)
    if len(probe) != len(probe_people) or len(gallery) != len(gallery_people):
        raise ValueError(
            f"{len(probe)} probes have {len(probe_people)} labels and {len(gallery)} gallery "
            f"images {len(gallery_people)}; expected one label an image."
        )
    if restrict_to is not None:
        searched = np.isin(gallery_people, as_array(restrict_to))
        gallery, gallery_people = gallery[searched], gallery_people[searched]
    names, codes = np.unique(gallery_people, return_inverse=True)
    strangers = np.setdiff1d(probe_people, names)
    if len(strangers):
        raise ValueError(
            f"{len(strangers)} people among the probes have no template to be found by (first: "
            f"{strangers[0]}); enrol them, or leave their probes out."
        )
    sums = np.zeros((len(names), gallery.shape[1]), dtype=gallery.dtype)
    np.add.at(sums, codes, gallery)
    scores = probe @ unit_rows(sums, "templates").T
    index = np.arange(len(probe)), np.searchsorted(names, probe_people)
    genuine = scores[index]
    scores[index] = -np.inf
    return genuine > scores.max(axis=1)
