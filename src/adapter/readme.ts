/** The card that lies beside an adapter. */

/** `baseModel` as the config names it. */
export const readme = (baseModel: string): string => `---
base_model: ${JSON.stringify(baseModel)}
library_name: peft
---

A LoRA adapter for \`${baseModel}\`, trained with tunec.

\`\`\`python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(baseModel)})
model = PeftModel.from_pretrained(base, ".")
\`\`\`
`
