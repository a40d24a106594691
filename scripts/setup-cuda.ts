/** Fetches NVRTC and cuBLASLt out of NVIDIA's wheels into .cuda/, for a machine that has a driver and no toolkit. pip only downloads and unpacks. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { findBlasLt } from '../backends/cuda/driver/blaslt.ts'
import { type Version, versionOfDriver, versionText } from '../backends/cuda/driver/driver.ts'
import { openNvrtc } from '../backends/cuda/driver/nvrtc.ts'
import { whereOf } from '../backends/cuda/driver/places.ts'

const project = path.dirname(import.meta.dirname)
const target = path.join(project, '.cuda')
const where = whereOf(process.env, project)

interface Wheel {
  readonly requirement: string
  /** The library within the wheel, and in .cuda/. */
  readonly file: string
  /** Size of the download. */
  readonly megabytes: string
}

/** CUDA 13's NVRTC is fetched by scripts/nvrtc.sh, as CI does. An NVRTC newer than its driver makes PTX that does not load. */
const nvrtcOf12 = ({ minor }: Version): Wheel => ({
  requirement: `nvidia-cuda-nvrtc-cu12>=12.0,<12.${minor + 1}`,
  file: 'nvidia/cuda_nvrtc/lib/libnvrtc.so.12',
  megabytes: '20 to 90',
})

/** The cuBLAS of CUDA 13 that the kernels were measured beside; for CUDA 12 one that its driver knows. */
const cublasOf = ({ major, minor }: Version): Wheel =>
  major >= 13
    ? {
        requirement: 'nvidia-cublas==13.1.0.3',
        file: 'nvidia/cu13/lib/libcublasLt.so.13',
        megabytes: '423',
      }
    : {
        requirement: `nvidia-cublas-cu12>=12.0,<12.${minor + 1}`,
        file: 'nvidia/cublas/lib/libcublasLt.so.12',
        megabytes: '360 to 600',
      }

const works = (command: ReadonlyArray<string>): boolean =>
  spawnSync(command[0]!, [...command.slice(1), '--version'], { stdio: 'ignore' }).status === 0

const pip = (): ReadonlyArray<string> | undefined =>
  [['python3', '-m', 'pip'], ['pip3'], ['pip'], ['python', '-m', 'pip']].find(works)

/** Takes a library and what lies beside it under its name out of a wheel; the reason where that fails. */
const fetched = ({ requirement, file, megabytes }: Wheel): string | null => {
  const installer = pip()
  if (installer === undefined) return `there is no pip to fetch ${requirement} with`
  console.log(`fetching ${requirement}: ${megabytes} MB`)
  fs.mkdirSync(target, { recursive: true })
  const fresh = fs.mkdtempSync(path.join(target, 'fresh.'))
  try {
    const [command, ...rest] = installer
    const options = ['--disable-pip-version-check', '--no-deps', '--target', fresh]
    const { status } = spawnSync(command!, [...rest, 'install', ...options, requirement], {
      stdio: 'inherit',
    })
    if (status !== 0) return `pip could not fetch ${requirement}`
    const folder = path.join(fresh, path.dirname(file))
    const stem = path.basename(file).replace(/\.so.*/, '')
    const files = fs.existsSync(folder)
      ? fs.readdirSync(folder).filter((n) => n.startsWith(stem) && n.includes('.so'))
      : []
    if (!files.includes(path.basename(file))) return `the wheel of ${requirement} has no ${file}`
    const to = path.join(target, path.dirname(file))
    fs.mkdirSync(to, { recursive: true })
    for (const n of files) fs.renameSync(path.join(folder, n), path.join(to, n))
    return null
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true })
  }
}

/** NVRTC of the driver's major version and no newer than it. */
const nvrtc = (driver: Version) =>
  pipe(
    openNvrtc(where, driver),
    E.filterOrElseW(
      ({ version: v }) => v.major < driver.major || v.minor <= driver.minor,
      ({ path: p, version }) => ({
        message: `the NVRTC at ${p}, ${versionText(version)}, is newer than the driver`,
      }),
    ),
  )

const fetchNvrtc = (driver: Version): string | null => {
  if (driver.major < 13) return fetched(nvrtcOf12(driver))
  spawnSync('bash', [path.join(project, 'scripts', 'nvrtc.sh')], { stdio: 'inherit' })
  return null
}

const line = (name: string, version: string, file: string): void =>
  console.log(`${name.padEnd(9)} ${version}, ${file}`)

const main = (): number => {
  if (process.platform !== 'linux') {
    console.error('error: CUDA libraries are fetched on Linux only')
    return 1
  }
  const found = versionOfDriver(where)
  const driver = E.isRight(found) ? found.right.version : { major: 13, minor: 0 }
  if (E.isRight(found)) line('driver', `CUDA ${versionText(driver)}`, found.right.path)
  else
    console.log(`no driver is found here; fetching what one of CUDA ${versionText(driver)} needs`)

  const whyNvrtc = E.isRight(nvrtc(driver)) ? null : fetchNvrtc(driver)
  const whyBlas = E.isRight(findBlasLt(where, driver)) ? null : fetched(cublasOf(driver))
  const [compiler, blas] = [nvrtc(driver), findBlasLt(where, driver)]
  if (E.isRight(compiler)) line('NVRTC', versionText(compiler.right.version), compiler.right.path)
  else console.error(`error: no NVRTC: ${whyNvrtc ?? compiler.left.message}`)
  if (E.isRight(blas)) line('cuBLASLt', blas.right.version.text, blas.right.lib.path)
  else console.error(`error: no cuBLASLt: ${whyBlas ?? blas.left.message}`)
  return E.isRight(compiler) && E.isRight(blas) ? 0 : 1
}

process.exitCode = main()
