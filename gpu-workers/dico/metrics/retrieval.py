"""Finding a picture among many by its caption, and the other way round."""

from __future__ import annotations

from torch import Tensor


def retrieval(similarity: Tensor) -> dict[str, float]:
    """recall_at_1, recall_at_5, recall_at_10 and mrr (mean reciprocal rank), all 0-1.

    A tie counts against the right answer; otherwise a captioner that says the same of every picture
    would be found every time.

    Args:
        similarity: Query by item, [N, N]; each query's right item is on the diagonal.

    Raises:
        ValueError: It is not square, or empty.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or not len(similarity):
        raise ValueError(f"expected a square similarity matrix, got {tuple(similarity.shape)}")
    rank = (similarity >= similarity.diagonal()[:, None]).sum(dim=1)  # [N], 1 is best
    figures = {f"recall_at_{k}": float((rank <= k).double().mean()) for k in (1, 5, 10)}
    return figures | {"mrr": float((1 / rank.double()).mean())}
