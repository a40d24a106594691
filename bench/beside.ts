/**
 * Our lines beside the peers' of the same run:  npx tsx bench/beside.ts OURS.txt PEERS.txt
 * OURS holds lines of bench/llama2-7b.ts; PEERS one JSON object a line with rival, ckpt, batch, seq, tok_s, device_used_gib.
 */
import fs from 'node:fs'
import * as t from 'io-ts'
import * as E from 'fp-ts/lib/Either.js'

const Peer = t.intersection([
  t.type({ rival: t.string, batch: t.number, seq: t.number, tok_s: t.number }),
  t.partial({
    ckpt: t.union([t.number, t.string, t.boolean]),
    mode: t.string,
    prep: t.union([t.string, t.null]),
    device_used_gib: t.union([t.number, t.null]),
    rank: t.number,
    targets: t.readonlyArray(t.string),
  }),
])
type Peer = t.TypeOf<typeof Peer>

interface Ours {
  readonly shape: string
  readonly what: string
  readonly tokens: number
  readonly gib: number
}

const line =
  /^(\d+x\d+) (.+) on .+: [\d.]+ ms a step, (\d+) tokens\/s, .*device memory in use ([\d.]+) GiB/

const oursOf = (text: string): ReadonlyArray<Ours> =>
  text.split('\n').flatMap((l) => {
    const m = line.exec(l)
    return m === null
      ? []
      : [{ shape: m[1]!, what: m[2]!, tokens: Number(m[3]), gib: Number(m[4]) }]
  })

const peersOf = (text: string): ReadonlyArray<Peer> =>
  text.split('\n').flatMap((l) => {
    if (!l.startsWith('{')) return []
    const read = Peer.decode(JSON.parse(l))
    return E.isRight(read) && read.right.mode !== 'decode' ? [read.right] : []
  })

const [mine, theirs] = process.argv.slice(2)
if (mine === undefined || theirs === undefined) {
  console.log('usage: npx tsx bench/beside.ts OURS.txt PEERS.txt')
  process.exit(1)
}
const all = oursOf(fs.readFileSync(mine, 'utf8'))
const peers = peersOf(fs.readFileSync(theirs, 'utf8'))
const gib = (n: number | null | undefined): string =>
  n === null || n === undefined ? '?' : n.toFixed(1)
for (const p of peers) {
  const targets = (p.targets ?? []).map((x) => x.replace('_proj', '')).join(' ')
  const name = `${p.rival}${p.prep ? ` ${p.prep}` : ''}, r=${p.rank ?? '?'} on ${targets}, checkpointing ${String(p.ckpt ?? '-')}`
  console.log(`${p.batch}x${p.seq} ${name}: ${p.tok_s} tokens/s in ${gib(p.device_used_gib)} GiB`)
  for (const o of all.filter((x) => x.shape === `${p.batch}x${p.seq}`))
    console.log(
      `    tunec ${o.what}: ${o.tokens} tokens/s in ${gib(o.gib)} GiB, ${(o.tokens / p.tok_s).toFixed(2)} times`,
    )
}
