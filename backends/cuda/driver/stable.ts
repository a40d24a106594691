/** Host memory that does not move, outside of JavaScript's. */
import koffi from 'koffi'

/** Bytes at an address that is a multiple of `step`, for the length of a call. */
export const aligned = (bytes: number, step: number): Buffer => {
  const room = Buffer.alloc(bytes + step)
  const past = Number(koffi.address(room) % BigInt(step))
  return room.subarray((step - past) % step, ((step - past) % step) + bytes)
}

/** Where a buffer's bytes lie. */
export const addressOf = (b: NodeJS.TypedArray): bigint => koffi.address(b)

/** Bytes at an address as an array, without a copy; the owner keeps them alive. */
export const viewOf = (address: bigint, bytes: number): Uint8Array =>
  new Uint8Array(koffi.view(address, bytes))
