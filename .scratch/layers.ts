import { compile } from '../passes/pass.ts'
import { knownModels } from '../src/models/known.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import { pipeline } from '../src/pipeline.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { arenaBytes } from '../passes/schedule.ts'
import { bytes } from '../ir/type.ts'
import { floorOf, h100, loweredText } from '../backends/cuda/lower/text.ts'
const r = <T>(e: any): T => { if (e._tag === 'Left') throw new Error(JSON.stringify(e.left).slice(0, 2000)); return e.right }
const [shape, rec, tg, rank] = process.argv.slice(2)
const [rows, length] = shape!.split('x').map(Number) as [number, number]
const spec = r<any>(readSpec(knownModels['meta-llama/Llama-2-7b-hf']))
const fwd = r<any>(model('llama', spec, { rows, length, generate: null }))
const all = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
const p = r<any>(compile(pipeline({ lora: { r: Number(rank ?? 8), alpha: 16, dropout: 0, targets: tg === 'all' ? all : all.slice(0, 3) }, quantize: { block: 64, nested: 256 }, compute: 'bf16', optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: true, clip: 1 }, recompute: rec === 'layers' ? { _tag: 'layers' } : rec === 'none' ? { _tag: 'none' } : { _tag: 'budget', bytes: Number(rec) } }))(fwd)).program
const l = lower(p, { arch: 90, sms: 132, shared: 232448, ...(process.env.KEEP ? { keep: Number(process.env.KEEP) } : {}), ...(process.env.SCRATCH ? { scratch: Number(process.env.SCRATCH) } : {}) })
const state = p.state.reduce((n: number, s: any) => n + bytes(s.type), 0)
console.log('IR arena', arenaBytes(p) / 2 ** 30, 'lowered GiB', l.arenaBytes / 2 ** 30, 'state', state / 2 ** 30)
for (const f of l.fns) console.log(f.name, f.launches.length, 'floor ms', 1e3 * f.launches.reduce((n, x) => n + floorOf(x, h100), 0), 'flops', f.launches.reduce((n, x) => n + x.flops, 0) / 1e12, 'end', (f.end) / 2 ** 30)
;(await import('node:fs')).writeFileSync('/tmp/list2.txt', loweredText(l))
