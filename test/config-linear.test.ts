/** Files with thousands of mistakes: the work grows as the file does, counted in looks at tokens. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Composer, Parser, type CST } from 'yaml'
import { syntaxProblems } from '../src/config/yaml/syntax.ts'

/** The same token, and all in it, with every look at a `type` counted. */
const watched = <T>(value: T, look: () => void): T =>
  typeof value !== 'object' || value === null
    ? value
    : (new Proxy(value, {
        get: (of, key) => {
          if (key === 'type') look()
          return watched(Reflect.get(of, key) as unknown, look)
        },
      }) as T)

const looks = (text: string): { readonly looks: number; readonly problems: number } => {
  const tokens: ReadonlyArray<CST.Token> = [...new Parser().parse(text)]
  const [document] = [...new Composer({ prettyErrors: false }).compose(tokens, true, text.length)]
  let count = 0
  const counted = tokens.map((t) => watched(t, () => (count += 1)))
  return { problems: syntaxProblems(document!, counted).length, looks: count }
}

for (const line of ['- "x\n', "- '\n", '? "x\n', '  a: "x\n'])
  test(`quotes that are not closed, ${JSON.stringify(line)} many times`, () => {
    const [few, many] = [looks(line.repeat(40)), looks(line.repeat(400))]
    assert.ok(few.problems >= 39 && many.problems >= 399, `${few.problems} ${many.problems}`)
    assert.ok(few.looks > 0 && many.looks <= 11 * few.looks, `${few.looks} and ${many.looks}`)
  })
