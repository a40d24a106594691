"""PyTorch + PEFT on the CPU, the peer of bench/cpu.ts: times optimizer steps on given token ids.

Usage: python bench/peer/peft_cpu.py JOB.json   (written by bench/cpu.ts; prints one JSON line)
A job: {"model": folder, "threads": 2, "steps": 8, "warmup": 2, "nf4": false, "batches": [[[prompt ids, target ids], ...], ...]}
Each batch is padded to its longest sample, as transformers' collator does; only target ids are scored.
"""
import json, resource, sys, time
import torch

job = json.load(open(sys.argv[1]))
torch.set_num_threads(job['threads'])
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

options = {'dtype': torch.float32}
if job['nf4']:
    from transformers import BitsAndBytesConfig
    options['quantization_config'] = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type='nf4', bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32)
    options['device_map'] = 'cpu'
model = AutoModelForCausalLM.from_pretrained(job['model'], **options)
model = get_peft_model(model, LoraConfig(
    r=8, lora_alpha=16, target_modules=['q_proj', 'k_proj', 'v_proj'], task_type='CAUSAL_LM'))
params = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.0)
model.train()


def collate(batch):
    longest = max(len(p) + len(t) for p, t in batch)
    ids, labels, mask = [], [], []
    for p, t in batch:
        pad = longest - len(p) - len(t)
        ids.append(p + t + [0] * pad)
        labels.append([-100] * len(p) + t + [-100] * pad)
        mask.append([1] * (len(p) + len(t)) + [0] * pad)
    return {k: torch.tensor(v) for k, v in (('input_ids', ids), ('labels', labels), ('attention_mask', mask))}


def step(batch):
    loss = model(**collate(batch)).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 0.5)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss)


batches = job['batches']
for i in range(job['warmup']):
    step(batches[i % len(batches)])
times, tokens, losses = [], [], []
for i in range(job['steps']):
    batch = batches[i % len(batches)]
    begun = time.perf_counter()
    losses.append(step(batch))
    times.append(1000 * (time.perf_counter() - begun))
    tokens.append(sum(len(p) + len(t) for p, t in batch))
print(json.dumps({'ms': times, 'tokens': tokens, 'losses': losses,
                  'peakMiB': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  'versions': f'torch {torch.__version__}'}))
