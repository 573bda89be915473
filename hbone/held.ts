// Received bytes that wait for slow readers, in this thread: above the cap the windows of all streams shrink, so that the
// sum stops growing, and every stream that drains still goes on.
import { PRESSURE_WINDOW_BYTES, PROCESS_HELD_BYTES } from './limits.ts'

/** The count of held bytes shared by connections. */
export class HeldBytes {
  #capBytes: number
  #bytes = 0

  constructor(capBytes: number = PROCESS_HELD_BYTES) {
    this.#capBytes = capBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @param capBytes for instance the process's cap divided by its data threads */
  setCap(capBytes: number): void {
    this.#capBytes = capBytes
  }

  /** Bytes were received (positive) or drained or dropped (negative). */
  add(bytes: number): void {
    this.#bytes += bytes
  }

  /** The window that a stream may have now. */
  windowFor(streamWindowBytes: number): number {
    return this.#bytes > this.#capBytes ? Math.min(streamWindowBytes, PRESSURE_WINDOW_BYTES) : streamWindowBytes
  }
}

/** The count that connections use unless they are given another. */
export const heldBytes = new HeldBytes()
