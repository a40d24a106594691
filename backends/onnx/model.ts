/** A graph under construction for onnxruntime: equal nodes and constants are made once, unused ones dropped. */

import { attributeTypes, elemTypes, encodeModel } from './proto.ts'
import type { AttributeProto, ElemType, NodeProto, TensorProto, ValueInfoProto } from './proto.ts'

/** The name of a tensor in a model; `''` leaves an optional input out. */
export type Value = string

export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly ints: readonly number[] }
  | { readonly floats: readonly number[] }

export type Attributes = Readonly<Record<string, Attribute>>

export interface NodeOptions {
  /** The operator set: `''` is ONNX's own (the default), `com.microsoft` onnxruntime's. */
  readonly domain?: string
  /** How many outputs are named, 1 unless told; those nobody reads cost nothing. */
  readonly outputs?: number
  /** Equal nodes of different salt are kept apart: what is computed again must not be kept instead. */
  readonly salt?: string
}

export interface ModelBuilder {
  /** Declares an argument; declared arguments stay, used or not. */
  readonly input: (name: string, elemType: ElemType, shape: readonly number[]) => Value
  /** A tensor kept in the model, from little-endian row-major elements (`data` may be any typed array). */
  readonly constant: (elemType: ElemType, shape: readonly number[], data: ArrayBufferView) => Value
  /** Applies an operator; the operator is trusted to be a pure function of inputs and attributes. */
  readonly node: (
    opType: string,
    inputs: readonly Value[],
    attributes?: Attributes,
    options?: NodeOptions,
  ) => readonly [Value, ...Value[]]
  /** Gives a value out under a name of its own. */
  readonly output: (
    name: string,
    value: Value,
    elemType: ElemType,
    shape: readonly number[],
  ) => void
  /** The model file of everything the outputs need; equal calls in equal order give equal bytes. */
  readonly encode: () => Uint8Array
}

/** ONNX's operator set at the version that brought `BitCast`, and onnxruntime's own. */
export const opsets = [
  { domain: '', version: 26 },
  { domain: 'com.microsoft', version: 1 },
] as const

const irVersion = 10

/** Starts an empty model. */
export const modelBuilder = (): ModelBuilder => {
  const inputs: ValueInfoProto[] = []
  const outputs: (readonly [ValueInfoProto, Value])[] = []
  const constants = new Map<string, TensorProto>()
  const nodes = new Map<string, NodeProto>()
  return {
    input: (name, elemType, shape) => {
      inputs.push(valueInfo(name, elemType, shape))
      return name
    },
    constant: (elemType, shape, data) => {
      const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
      const key = `${elemType} ${shape.join()} ${Buffer.from(rawData.buffer).toString('latin1')}`
      const known = constants.get(key)
      if (known) return known.name
      const name = `c${constants.size}`
      constants.set(key, { dims: shape, dataType: elemTypes[elemType], name, rawData })
      return name
    },
    node: (opType, input, attributes = {}, { domain = '', outputs: count = 1, salt = '' } = {}) => {
      const key = JSON.stringify([opType, domain, input, attributes, count, salt])
      const made = nodes.get(key) ?? makeNode(nodes.size, opType, input, attributes, domain, count)
      nodes.set(key, made)
      return made.output as readonly [Value, ...Value[]]
    },
    output: (name, value, elemType, shape) => {
      outputs.push([valueInfo(name, elemType, shape), value])
    },
    encode: () => {
      const node = live(
        [...nodes.values()],
        outputs.map(([info, value]) => [info.name, value]),
      )
      const used = new Set(node.flatMap((n) => n.input))
      return encodeModel({
        irVersion,
        producerName: 'tunec',
        opsetImport: opsets,
        graph: {
          name: 'tunec',
          node,
          initializer: [...constants.values()].filter((c) => used.has(c.name)),
          input: inputs,
          output: outputs.map(([info]) => info),
        },
      })
    },
  }
}

const valueInfo = (name: string, elemType: ElemType, shape: readonly number[]): ValueInfoProto => ({
  name,
  type: {
    tensorType: {
      elemType: elemTypes[elemType],
      shape: { dim: shape.map((dimValue) => ({ dimValue })) },
    },
  },
})

const makeNode = (
  index: number,
  opType: string,
  input: readonly Value[],
  attributes: Attributes,
  domain: string,
  count: number,
): NodeProto => ({
  input,
  output: Array.from({ length: count }, (_, i) => (count === 1 ? `t${index}` : `t${index}.${i}`)),
  name: `${opType}.${index}`,
  opType,
  attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  domain,
})

const attribute = (name: string, value: Attribute): AttributeProto => {
  if ('int' in value) return { name, type: attributeTypes.int, i: value.int }
  if ('float' in value) return { name, type: attributeTypes.float, f: value.float }
  if ('ints' in value) return { name, type: attributeTypes.ints, ints: value.ints }
  if ('floats' in value) return { name, type: attributeTypes.floats, floats: value.floats }
  return { name, type: attributeTypes.string, s: new TextEncoder().encode(value.string) }
}

/**
 * The nodes that the outputs need, in their given order. A node's value that leaves the model is made
 * under its outer name at once, so it lands in the caller's buffer without a copy; only an argument,
 * a constant or a value that leaves twice goes through `Identity`.
 */
const live = (
  nodes: readonly NodeProto[],
  outputs: readonly (readonly [name: string, value: Value])[],
): readonly NodeProto[] => {
  const made = new Set(nodes.flatMap((n) => n.output))
  const outer = new Map<Value, string>()
  const copies: NodeProto[] = []
  for (const [name, value] of outputs) {
    if (made.has(value) && !outer.has(value)) outer.set(value, name)
    else copies.push({ ...makeNode(0, 'Identity', [value], {}, '', 1), name, output: [name] })
  }
  const rename = (value: Value): Value => outer.get(value) ?? value
  const wanted = new Set(outputs.flatMap(([name, value]) => [name, rename(value)]))
  const kept: NodeProto[] = []
  for (const node of [...nodes, ...copies].reverse()) {
    const output = node.output.map(rename)
    if (!output.some((o) => wanted.has(o))) continue
    const input = node.input.map(rename)
    for (const i of input) wanted.add(i)
    kept.push({ ...node, input, output })
  }
  return kept.reverse()
}
