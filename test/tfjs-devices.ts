/** TensorFlow's own list of its devices: a context of its own beside the package's, which keeps its to itself. */
import koffi from 'koffi'
import { find, whereOf } from '../backends/tfjs/places.ts'

export interface Listed {
  readonly name: string
  readonly type: string
}

/** Asked for once TensorFlow is loaded. */
export const devicesOf = (): ReadonlyArray<Listed> => {
  const found = find(whereOf(process.env, process.cwd()))
  if ('why' in found) throw new Error(found.why)
  const [framework, cc] = found.home.libraries.map((l) => koffi.load(l))
  const status = framework!.func('uintptr_t TF_NewStatus()')()
  const made = cc!.func('uintptr_t TFE_NewContextOptions()')()
  const context = cc!.func('uintptr_t TFE_NewContext(uintptr_t, uintptr_t)')(made, status)
  const list = cc!.func('uintptr_t TFE_ContextListDevices(uintptr_t, uintptr_t)')(context, status)
  const count = cc!.func('int TF_DeviceListCount(uintptr_t)')(list) as number
  const text = (field: string) =>
    cc!.func(`const char *TF_DeviceList${field}(uintptr_t, int, uintptr_t)`)
  const [name, type] = [text('Name'), text('Type')]
  const devices = Array.from({ length: count }, (_, i) => ({
    name: name(list, i, status) as string,
    type: type(list, i, status) as string,
  }))
  cc!.func('void TF_DeleteDeviceList(uintptr_t)')(list)
  cc!.func('void TFE_DeleteContext(uintptr_t)')(context)
  cc!.func('void TFE_DeleteContextOptions(uintptr_t)')(made)
  framework!.func('void TF_DeleteStatus(uintptr_t)')(status)
  return devices
}
