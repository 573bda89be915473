// Memory that the C library holds after a storm: freed, but kept for itself between what still lives. Called by ztunnel.
import { library, type NativeLibrary } from './ffi.ts'

let trim: (() => void) | undefined

/** Gives free memory of every arena back to the kernel (glibc malloc_trim(3)); does nothing where the C library has no such call. */
export function trimHeap(): void {
  trim ??= findTrim(library('libc.so.6'))
  trim()
}

function findTrim(libc: NativeLibrary): () => void {
  try {
    const call = libc.func('int malloc_trim(size_t pad)')
    return () => void call(0)
  } catch {
    return () => undefined // musl has none, and gives memory back by itself
  }
}
