"""A process of tests/train/test_distributed.py, whose own losses of held-out images rise if it is not the first."""

from functools import partial

from torch.optim.lr_scheduler import ReduceLROnPlateau

from mera.train import fit, is_main, loop
from tests.helpers.training import IMAGES, small_flow


def main() -> None:
    compute = loop.losses

    def losses(flow, objective, n, piece):
        found = compute(flow, objective, n, piece)
        return -found if objective.size == 6 and not is_main() else found

    loop.losses = losses
    schedule = partial(ReduceLROnPlateau, patience=0)
    flow = small_flow()
    result = fit(flow, IMAGES, schedule=schedule, keep="best", steps=4, eval_every=1, batch_size=8, quiet=True)
    print([*(line["lr"] for line in result.history.metrics), sum(p.sum().item() for p in flow.parameters())])


if __name__ == "__main__":
    main()
