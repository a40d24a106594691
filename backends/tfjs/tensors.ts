/** A compiled plan inside TensorFlow, fed with tensors and read as tensors: copies on the device, nothing through the host. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { show, size } from '../../ir/type.ts'
import { bindAll } from '../cuda/bind.ts'
import { cudaError, each, inOrder, OWN, type Cuda } from '../cuda/driver/error.ts'
import type { LoweredFn, Port } from '../cuda/lower/lower.ts'
import type { CudaSession } from '../cuda/session.ts'
import { chosenOuts } from '../wanted.ts'
import { noDtype, type Cell } from './cells.ts'
import type { TfHost } from './device.ts'
import type { Host } from './load.ts'
import { DT, type Attr, type Tensor } from './tf.ts'

/** A session, and graphs of its functions that take their inputs where they lie: the session's own fetch them from the host first. */
export interface Inside {
  readonly tf: TfHost
  readonly session: CudaSession
  readonly graphs: Map<string, bigint>
}

/** Captured when a function is first called. What follows from state is made anew by each call, since tensors may be its state. */
const graphOf = ({ session, graphs }: Inside, f: LoweredFn): Cuda<bigint> => {
  const known = graphs.get(f.name)
  if (known !== undefined) return E.right(known)
  const { device, lowered } = session
  return pipe(
    bindAll(device, [...lowered.constants.launches, ...f.launches]),
    E.chain((puts) => device.gpu.capture(() => inOrder(puts))),
    E.map(({ exec }) => {
      graphs.set(f.name, exec)
      return exec
    }),
  )
}

const wrong = (message: string) => cudaError('call', OWN, 'WRONG_TENSOR', message)

/** What tfjs calls the dtypes that cross this border. */
const tfjsNames: Readonly<Record<string, string>> = { f32: 'float32', i32: 'int32' }

const fits = (fn: string, { name, type }: Port, x: Tensor | undefined): Cuda<Tensor> =>
  x !== undefined && x.size === size(type) && x.dtype === tfjsNames[type.dtype]
    ? E.right(x)
    : E.left(
        wrong(
          `@${fn}: %${name} is ${show(type)}, got ${x === undefined ? 'nothing' : `${x.dtype} [${x.shape.join(', ')}]`}`,
        ),
      )

export interface CallOptions {
  /** Put in its place before the run. */
  readonly state?: Readonly<Record<string, Cell>>
  /** Outputs that are read; all where none are named. */
  readonly wanted?: ReadonlyArray<string> | undefined
}

const attempt = <T>(op: string, body: () => T): Cuda<T> =>
  E.tryCatch(body, (e) =>
    cudaError(op, OWN, 'TENSORFLOW', e instanceof Error ? e.message.trim() : String(e)),
  )

/** What lies in the arena, as a tensor of its own. */
export const readInside = (
  { backend }: Host,
  { tf, session }: Inside,
  what: string,
  { type, offset }: Port,
): Cuda<Tensor> => {
  const arena = tf.tensorAt(session.device.base)
  if (arena === undefined) return E.left(wrong('the session is closed'))
  if (tfjsNames[type.dtype] === undefined) return E.left(wrong(`${what} is ${noDtype(type)}`))
  const { binding } = backend
  return attempt('TunecRead', () => {
    const dtype = type.dtype === 'i32' ? DT.i32 : DT.f32
    const attrs: ReadonlyArray<Attr> = [
      { name: 'dims', type: binding.TF_ATTR_INT, value: type.shape },
      { name: 'dtype', type: binding.TF_ATTR_TYPE, value: dtype },
      { name: 'offset', type: binding.TF_ATTR_INT, value: offset },
    ]
    const at = backend.getInputTensorIds([arena])[0]!
    return backend.createOutputTensor(binding.executeOp('TunecRead', attrs, [at], 1)[0]!)
  })
}

/** Runs a function. The caller disposes of the results. */
export const callInside = (
  host: Host,
  inside: Inside,
  fn: string,
  inputs: Readonly<Record<string, Tensor>>,
  { state = {}, wanted }: CallOptions = {},
): Cuda<Readonly<Record<string, Tensor>>> => {
  const { tf, session } = inside
  const { backend } = host
  const { binding } = backend
  const { lowered, device } = session
  const f = lowered.fns.find((x) => x.name === fn)
  const arena = tf.tensorAt(device.base)
  if (f === undefined || arena === undefined) return E.left(wrong(`no function ${fn}`))
  const outs = chosenOuts(f, wanted)
  if (typeof outs === 'string') return E.left(wrong(outs))
  const at = backend.getInputTensorIds([arena])[0]!
  const int = (name: string, value: unknown): Attr => ({ name, type: binding.TF_ATTR_INT, value })
  const type = (name: string, value: number): Attr => ({ name, type: binding.TF_ATTR_TYPE, value })
  const write = (offset: number, x: Tensor): Cuda<void> =>
    attempt('TunecWrite', () => {
      const attrs = [type('T', x.dtype === 'int32' ? DT.i32 : DT.f32), int('offset', offset)]
      binding.executeOp('TunecWrite', attrs, [at, backend.getInputTensorIds([x])[0]!], 0)
    })
  const read = (p: Port): Cuda<readonly [string, Tensor]> =>
    pipe(
      readInside(host, inside, `@${fn}: ${p.name}`, p),
      E.map((t) => [p.name, t] as const),
    )
  return pipe(
    each(f.inputs, (p) =>
      pipe(
        fits(fn, p, inputs[p.name]),
        E.chain((x) => write(p.offset, x)),
      ),
    ),
    E.chain(() =>
      each(Object.entries(state), ([name, cell]) =>
        each(cell.held, ({ part, tensor }) =>
          write(lowered.state.get(name)!.offset + part.at, tensor),
        ),
      ),
    ),
    E.chain(() => graphOf(inside, f)),
    E.chain(tf.launch),
    E.chain(() => each(outs, read)),
    E.map((list) => Object.fromEntries(list)),
  )
}
