"""A process of tests/train/test_distributed.py: DistributedDataParallel over halves of a batch, for every model."""

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mera.train.exchange import join_group
from tests.helpers.laws import randomize
from tests.tables.models import CONDITIONAL, MODELS, ONE_EACH, batch, contexts


class Loss(nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x, *context):
        return -self.flow.log_prob(x, *context).mean()


def main() -> None:
    join_group(torch.device("cpu"))  # which leaves the group at the end
    rank = distributed.get_rank()
    cases = {name: MODELS[name] for name in ONE_EACH.values()} | {"conditional": CONDITIONAL["rgflow-classes"]}
    for name, make in cases.items():
        torch.manual_seed(0)
        flow = randomize(make(), 0.2)
        data = [batch(flow, 4), *([contexts(flow, 4)] if name == "conditional" else [])]
        expected = torch.autograd.grad(Loss(flow)(*data), list(flow.parameters()))
        shared = DistributedDataParallel(Loss(flow))
        shared(*(part[2 * rank : 2 * rank + 2] for part in data)).backward()
        for (key, parameter), gradient in zip(flow.named_parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-9, rtol=1e-9, msg=f"{name}: {key}")
        if rank == 0:
            print(name, "agrees")


if __name__ == "__main__":
    main()
