/** Characters that a tokenizer has no ids for: they vanish from a prompt without a trace. */
import type { Dataset } from './dataset.ts'
import { expressed } from './expressed.ts'
import type { ListRows, RowList } from './row-list.ts'
import type { Sample } from './samples.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

export interface Lost {
  readonly rows: RowList
  /** Each once. */
  readonly characters: ReadonlyArray<string>
}

const replacement = '\ufffd'

/** Asks about each character once. */
const vanishing = (tokenizer: Tokenizer): ((char: string) => boolean) => {
  const known = new Map<string, boolean>()
  return (char) => {
    const before = known.get(char)
    if (before !== undefined) return before
    const back = expressed(tokenizer, char).trim()
    const lost = char.trim() !== '' && char !== replacement && (back === '' || back === replacement)
    known.set(char, lost)
    return lost
  }
}

/** Prompts with such characters; answers are compared as a whole. */
export const lostOf = (
  dataset: Dataset,
  tokenizer: Tokenizer,
  samples: ReadonlyArray<Sample>,
  list: ListRows,
): Lost | undefined => {
  const vanishes = vanishing(tokenizer)
  const found = samples.flatMap(({ row }) => {
    const characters = [...new Set(dataset.texts[row]?.prompt ?? '')].filter(vanishes)
    return characters.length === 0 ? [] : [{ row, characters }]
  })
  return found.length === 0
    ? undefined
    : {
        rows: list(found.map(({ row }) => row)),
        characters: [...new Set(found.flatMap(({ characters }) => characters))],
      }
}
