/** The part of the ONNX model format that is written here, as a protobuf descriptor and its typed message. */

import protobuf from 'protobufjs/light.js'

/** Element types by the names onnxruntime gives its tensors, with their numbers in `TensorProto.DataType`. */
export const elemTypes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
} as const

export type ElemType = keyof typeof elemTypes

/** `AttributeProto.AttributeType`. */
export const attributeTypes = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const

export interface AttributeProto {
  readonly name: string
  readonly type: number
  readonly f?: number
  readonly i?: number
  readonly s?: Uint8Array
  readonly floats?: readonly number[]
  readonly ints?: readonly number[]
}

export interface TensorProto {
  readonly dims: readonly number[]
  readonly dataType: number
  readonly name: string
  /** Little-endian elements, row-major. */
  readonly rawData: Uint8Array
}

export interface NodeProto {
  readonly input: readonly string[]
  readonly output: readonly string[]
  readonly name: string
  readonly opType: string
  readonly attribute: readonly AttributeProto[]
  readonly domain: string
}

export interface ValueInfoProto {
  readonly name: string
  readonly type: {
    readonly tensorType: {
      readonly elemType: number
      readonly shape: { readonly dim: readonly { readonly dimValue: number }[] }
    }
  }
}

export interface ModelProto {
  readonly irVersion: number
  readonly producerName: string
  readonly opsetImport: readonly { readonly domain: string; readonly version: number }[]
  readonly graph: {
    readonly name: string
    readonly node: readonly NodeProto[]
    readonly initializer: readonly TensorProto[]
    readonly input: readonly ValueInfoProto[]
    readonly output: readonly ValueInfoProto[]
  }
}

type Field = readonly [name: string, id: number, type: string, rule?: 'repeated']

const message = (...fields: readonly Field[]): protobuf.IType => ({
  fields: Object.fromEntries(
    fields.map(([name, id, type, rule]) => [name, rule ? { id, type, rule } : { id, type }]),
  ),
})

/** Field numbers as in onnx.proto, IR version 10. */
const schema = protobuf.Root.fromJSON({
  nested: {
    ModelProto: message(
      ['irVersion', 1, 'int64'],
      ['producerName', 2, 'string'],
      ['graph', 7, 'GraphProto'],
      ['opsetImport', 8, 'OperatorSetIdProto', 'repeated'],
    ),
    OperatorSetIdProto: message(['domain', 1, 'string'], ['version', 2, 'int64']),
    GraphProto: message(
      ['node', 1, 'NodeProto', 'repeated'],
      ['name', 2, 'string'],
      ['initializer', 5, 'TensorProto', 'repeated'],
      ['input', 11, 'ValueInfoProto', 'repeated'],
      ['output', 12, 'ValueInfoProto', 'repeated'],
    ),
    NodeProto: message(
      ['input', 1, 'string', 'repeated'],
      ['output', 2, 'string', 'repeated'],
      ['name', 3, 'string'],
      ['opType', 4, 'string'],
      ['attribute', 5, 'AttributeProto', 'repeated'],
      ['domain', 7, 'string'],
    ),
    AttributeProto: message(
      ['name', 1, 'string'],
      ['f', 2, 'float'],
      ['i', 3, 'int64'],
      ['s', 4, 'bytes'],
      ['floats', 7, 'float', 'repeated'],
      ['ints', 8, 'int64', 'repeated'],
      ['type', 20, 'int32'],
    ),
    TensorProto: message(
      ['dims', 1, 'int64', 'repeated'],
      ['dataType', 2, 'int32'],
      ['name', 8, 'string'],
      ['rawData', 9, 'bytes'],
    ),
    ValueInfoProto: message(['name', 1, 'string'], ['type', 2, 'TypeProto']),
    TypeProto: message(['tensorType', 1, 'TensorTypeProto']),
    TensorTypeProto: message(['elemType', 1, 'int32'], ['shape', 2, 'TensorShapeProto']),
    TensorShapeProto: message(['dim', 1, 'Dimension', 'repeated']),
    Dimension: message(['dimValue', 1, 'int64']),
  },
})

/** The bytes of a model file. */
export const encodeModel = (model: ModelProto): Uint8Array =>
  schema.lookupType('ModelProto').encode(model).finish()
