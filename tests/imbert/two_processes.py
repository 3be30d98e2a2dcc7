"""Run by test_imbert_surroundings.py under torchrun: half a batch in each of two processes has the
gradient of the whole in one.
"""

import os
import sys
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import transformers  # noqa: E402
from tiny import sentences  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

import imbert  # noqa: E402
from imbert.training.processes import leave_group  # noqa: E402  # before there is a group

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, folder = dist.get_rank(), sys.argv[1]
texts, labels = sentences(8)
tokens = transformers.AutoTokenizer.from_pretrained(folder)(
    texts, padding=True, return_tensors="pt"
)
batch = {**tokens, "labels": torch.tensor(labels)}
torch.manual_seed(0)
options = {
    "solver": {"name": "Anderson", "rtol": 1e-13},
    "adjoint": {"name": "ImplicitAdjoint", "rtol": 1e-12},
}
model = imbert.ImBertForSequenceClassification.from_pretrained(
    folder, implicit_layers=[1, 2], dtype=torch.float64, **options
).eval()
model(**batch).loss.backward()
expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
model.zero_grad()
parallel = DistributedDataParallel(model)
parallel(**{name: value[4 * rank : 4 * rank + 4] for name, value in batch.items()}).loss.backward()
largest = max(
    float(g.norm()) for g in expected.values()
)  # some, as that of a bias of keys, are zero but for rounding
for name, parameter in model.named_parameters():
    gap = float((parameter.grad - expected[name]).norm()) / largest
    assert gap < 1e-9, f"{name}: gradients differ by {gap:.1e}"
del parallel
leave_group()
