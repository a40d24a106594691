import { added, factorsOf } from '../ir/factors.ts'
const w = Float32Array.from({ length: 48 }, (_, i) => (1 + Math.floor(i / 8)) * ((i % 8) - 3))
for (const by of ['pissa','olora'] as const) { const f = factorsOf(by, w, [6, 8], 3, 2, 'w'); console.log(by, Math.max(...added(w,f,3,-2).map(Math.abs)), f) }
