// compiles every kernel of a lowered program for an arch
import { readFileSync } from 'node:fs'
import { parse } from '../ir/parse.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { openNvrtc } from '../backends/cuda/driver/nvrtc.ts'
import { whereOf } from '../backends/cuda/driver/places.ts'
import { sourceOf } from '../backends/cuda/sources.ts'
const p = parse(readFileSync(process.argv[2]!, 'utf8'))
if (p._tag === 'Left') { console.log(p.left); process.exit(1) }
const arch = process.argv[3] ?? 'sm_90a'
const l = lower(p.right, { arch: Number(/\d+/.exec(arch)![0]), sms: 132, shared: 232448 })
const rtc = openNvrtc(whereOf(process.env, '/work/main'), null)
if (rtc._tag === 'Left') { console.log(rtc.left); process.exit(1) }
const seen = new Set<string>()
for (const f of l.fns) for (const x of f.launches) if (x._tag === 'kernel') {
  const k = x.kernel.source + JSON.stringify(x.kernel.defines)
  if (seen.has(k)) continue
  seen.add(k)
  const r = rtc.right.compile({ source: sourceOf(x.kernel.source), defines: x.kernel.defines, arch, options: [] } as never)
  console.log(k, r._tag === 'Left' ? r.left.message : 'ok ' + (r.right as {log:string}).log.slice(0, 300))
}
