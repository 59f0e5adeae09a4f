"""Which form of the metrics a client prefers. Pure."""

from __future__ import annotations

from roadworthy.view.prometheus import OPENMETRICS_TYPE, TEXT_TYPE


def preferred(accept: str) -> str:
    """Return the exposition format for an Accept header: OpenMetrics where it is wanted no less than plain text.

    Anything else, also what nobody can parse, gets the plain text that every scraper reads.
    """
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(",")[:32]:
        media, *options = (piece.strip().lower() for piece in part.split(";"))
        weight = next((option[2:] for option in options if option.startswith("q=")), "1")
        version = next((option[8:] for option in options if option.startswith("version=")), "")
        if media not in weights or (media != "text/plain" and version not in {"", "1.0.0", "0.0.1"}):
            continue
        try:
            weights[media] = max(weights[media], float(weight))
        except ValueError:
            continue
    wanted = weights["application/openmetrics-text"]
    return OPENMETRICS_TYPE if wanted > 0 and wanted >= weights["text/plain"] else TEXT_TYPE
