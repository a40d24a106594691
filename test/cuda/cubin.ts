/** What a cubin says of its kernels: the ELF file of a compiled source, read without CUDA's tools. */

export interface KernelFacts {
  /** Bytes of each parameter. */
  readonly params: ReadonlyArray<number>
  /** Registers of a thread. */
  readonly registers: number
  /** Bytes of shared memory that the source itself declares. */
  readonly shared: number
  /** Threads that `__launch_bounds__` allows. */
  readonly threads: number
}

interface Section {
  readonly name: string
  readonly info: number
  readonly size: number
  readonly data: Buffer
}

const NOBITS = 8

const sectionsOf = (elf: Buffer): ReadonlyArray<Section> => {
  if (elf.subarray(0, 4).toString('latin1') !== '\u007fELF') throw new Error('no ELF file')
  const [start, each, count, names] = [
    Number(elf.readBigUInt64LE(0x28)),
    elf.readUInt16LE(0x3a),
    elf.readUInt16LE(0x3c),
    elf.readUInt16LE(0x3e),
  ]
  const header = (i: number) => {
    const at = start + i * each
    const [offset, size] = [0x18, 0x20].map((o) => Number(elf.readBigUInt64LE(at + o)))
    const [name, type] = [elf.readUInt32LE(at), elf.readUInt32LE(at + 4)]
    const data = type === NOBITS ? Buffer.alloc(0) : elf.subarray(offset!, offset! + size!)
    return { name, size: size!, info: elf.readUInt32LE(at + 0x2c), data }
  }
  const strings = header(names).data
  return Array.from({ length: count }, (_, i) => {
    const h = header(i)
    return { ...h, name: strings.toString('latin1', h.name, strings.indexOf(0, h.name)) }
  })
}

/** EIATTR_* of `.nv.info.KERNEL`. */
const KPARAM_INFO = 0x17
const MAX_THREADS = 0x05
/** EIFMT_SVAL: a length and so many bytes; the other formats hold two bytes. */
const SVAL = 4

/** The attributes of a kernel, each a number and its bytes. */
const attributesOf = (info: Buffer): ReadonlyArray<readonly [attribute: number, data: Buffer]> => {
  const list: Array<readonly [number, Buffer]> = []
  for (let at = 0; at + 4 <= info.length;) {
    const [format, attribute, length] = [info[at]!, info[at + 1]!, info.readUInt16LE(at + 2)]
    const end = at + 4 + (format === SVAL ? length : 0)
    list.push([attribute, info.subarray(at + 4, end)])
    at = end
  }
  return list
}

export const factsOf = (cubin: Buffer): ReadonlyMap<string, KernelFacts> => {
  const sections = sectionsOf(cubin)
  const named = new Map(sections.map((s) => [s.name, s]))
  return new Map(
    sections.flatMap((s) => {
      const name = /^\.nv\.info\.(.+)$/.exec(s.name)?.[1]
      if (name === undefined) return []
      const attributes = attributesOf(s.data)
      const params: number[] = []
      for (const [attribute, data] of attributes)
        if (attribute === KPARAM_INFO) params[data.readUInt16LE(4)] = data.readUInt32LE(8) >>> 18
      const bound = attributes.find(([a]) => a === MAX_THREADS)?.[1]
      const facts = {
        params,
        registers: named.get(`.text.${name}`)!.info >>> 24,
        shared: named.get(`.nv.shared.${name}`)?.size ?? 0,
        threads: bound?.readUInt32LE(0) ?? 1024,
      }
      return [[name, facts] as const]
    }),
  )
}
