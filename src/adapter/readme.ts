/** The cards that lie beside trained weights. */

/** Of an adapter; `baseModel` as the config names it. */
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

/** Of a fully fine-tuned model; `dtypes` are those of its file. */
export const modelReadme = (baseModel: string, dtypes: ReadonlyArray<string>): string => `---
base_model: ${JSON.stringify(baseModel)}
library_name: transformers
---

\`${baseModel}\`, fully fine-tuned with tunec. The weights were trained in 32-bit floats and are stored as
${dtypes.join(' and ')}, like those of the base: rounded once, to the nearest.
`
