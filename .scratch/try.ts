import { readFileSync } from 'node:fs'
import { parse } from '../ir/parse.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { loweredText } from '../backends/cuda/lower/text.ts'
const p = parse(readFileSync(process.argv[2]!, 'utf8'))
if (p._tag === 'Left') { console.log(p.left); process.exit(1) }
const t0 = Date.now()
const l = lower(p.right, { arch: 90, sms: 132, shared: 232448 })
console.log('ms', Date.now() - t0)
const text = loweredText(l)
for (const f of l.fns) {
  const g: Record<string, number> = {}
  for (const x of f.launches) g[x.rule + '/' + x._tag] = (g[x.rule + '/' + x._tag] ?? 0) + 1
  console.log(f.name, f.launches.length, JSON.stringify(g))
}
console.log('arena', l.arenaBytes / 1e9)
;(await import('node:fs')).writeFileSync('/tmp/list.txt', text)
