"""Loads what scripts/peft-check.ts had written into transformers and PEFT, and compares.

    python peft_check.py OUTPUTS.json      (transformers 5, peft, torch)

An adapter is loaded twice: by the code in its README, and by AutoPeftModelForCausalLM unless the README warns of it.
"""
import json
import os
import re
import sys
from pathlib import Path

import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
TOLERANCE = 1e-4


def by_readme(folder: str):
    """Runs the card's own code, standing in the folder."""
    code = re.search(r"```python\n(.*?)```", Path(folder, "README.md").read_text(), re.S).group(1)
    before = os.getcwd()
    os.chdir(folder)
    try:
        names: dict = {}
        exec(code, names)
        return names["model"]
    finally:
        os.chdir(before)


def ways(output: dict):
    folder = output["folder"]
    if output["kind"] != "adapter":
        return [("AutoModelForCausalLM", AutoModelForCausalLM.from_pretrained(folder))]
    ways = [("README", by_readme(folder))]
    if "AutoPeftModelForCausalLM" not in Path(folder, "README.md").read_text():
        ways.append(("AutoPeftModel", AutoPeftModelForCausalLM.from_pretrained(folder)))
    return ways


def compared(model, answers: list, longest: int):
    model.float().eval()
    worst, stops, texts, starts = 0.0, 0, 0, []
    for answer in answers:
        prompt = torch.tensor([answer["prompt"]])
        with torch.no_grad():
            logits = model(prompt).logits[0, -1].double()
            made = model.generate(
                input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=longest
            )[0, prompt.shape[1] :].tolist()
        ours = torch.tensor(answer["logits"], dtype=torch.float64)
        worst = max(worst, ((logits - ours).abs().max() / logits.abs().max()).item())
        ended = answer["stopped"] == "eos"
        same = made[: len(answer["ids"])] == answer["ids"]
        stops += same and len(made) == len(answer["ids"]) + ended
        starts.append(same)
        texts += ended
    return worst, stops, texts


def main(file: str) -> int:
    given = json.loads(Path(file).read_text())
    bad = 0
    print(f"{'job':<12}{'output':<9}{'loaded by':<22}{'logits':>9}  stop alike  ended  prompts alike")
    for output in given["outputs"]:
        answers = output["answers"]
        tokenizer = AutoTokenizer.from_pretrained(output["folder"])
        alike = sum(tokenizer(a["text"])["input_ids"] == a["prompt"] for a in answers)
        for way, model in ways(output):
            worst, stops, ended = compared(model, answers, given["longest"])
            if way == "README" and output["kind"] == "adapter":
                model.save_pretrained(str(Path(output["folder"], "again")))
            good = worst < TOLERANCE and stops == len(answers) and alike == len(answers)
            bad += not good
            print(
                f"{output['job']:<12}{output['kind']:<9}{way:<22}{worst:>9.1e}  {stops:>4}/{len(answers):<5} "
                f"{ended:>5}  {alike:>4}/{len(answers)}{'' if good else '   <- differs'}"
            )
    print(f"{bad} of these differ" if bad else f"all alike: logits within {TOLERANCE:g} of the largest")
    return 1 if bad else 0


sys.exit(main(sys.argv[1]))
