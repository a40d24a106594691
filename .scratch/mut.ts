import * as m from '../scripts/mutations.ts'
import fs from 'node:fs'
const list = (m as any).mutations ?? Object.values(m)[0]
for (const x of list as any[]) { const t = fs.readFileSync(x.file, 'utf8'); const n = t.split(x.find ?? x.from ?? x.before).length - 1; if (n !== 1) console.log(n, x.file, JSON.stringify(x).slice(0, 300)) }
