import { openNvrtc } from '../backends/cuda/driver/nvrtc.ts'
import { whereOf } from '../backends/cuda/driver/places.ts'
import { sourceOf } from '../backends/cuda/sources.ts'
const [name, arch, ...defs] = process.argv.slice(2)
const rtc = openNvrtc(whereOf(process.env, '/work/main'), null)
if (rtc._tag === 'Left') { console.log(rtc.left); process.exit(1) }
const defines = Object.fromEntries(defs.map((d) => d.split('=')))
const r = rtc.right.compile({ source: sourceOf(name!), defines, arch: arch!, options: ['--ptxas-options=-v'] } as never)
if (r._tag === 'Left') console.log(r.left.message)
else { (await import('node:fs')).writeFileSync('/tmp/k.cubin', (r.right as {image:Uint8Array}).image); console.log('ok', (r.right as {log:string}).log) }
