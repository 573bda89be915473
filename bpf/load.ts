// Loads a committed object: its maps are those pinned in the node's directory (created and pinned by the first load).
import { bpfFailure } from './errors.ts'
import type { Pointer } from './libbpf.ts'
import { bpfErrno, libbpf } from './libbpf.ts'
import { pins } from './spec.ts'

/** A loaded object. Disposing closes its fds; programs that a pinned link holds run on. */
export interface LoadedObject extends Disposable {
  /** @returns fd, open until disposed. @throws RangeError for a name that the object has not */
  programFd(name: string): number
}

/**
 * @param options.path the .bpf.o
 * @param options.directory where maps are pinned
 * @param options.constant value of the object's one `const volatile __u64` (NETNS, FEATURES)
 * @throws MeshError OBJECT_UNREADABLE, OBJECT_REFUSED (with the verifier's last lines)
 */
export function loadObject(options: { readonly path: string; readonly directory: string; readonly constant?: bigint }): LoadedObject {
  const lib = libbpf()
  const object = lib.open(options.path)
  if (object === null) throw bpfFailure('OBJECT_UNREADABLE', { path: options.path, errno: bpfErrno() })
  try {
    pinMaps(object, options)
    const logs = logBuffers(object)
    if (lib.load(object) < 0) {
      const errno = bpfErrno()
      throw bpfFailure('OBJECT_REFUSED', { path: options.path, errno, verifier: lastLines(logs) })
    }
    let isOpen = true
    const fds = new Map(programs(object).map((program) => [lib.programName(program), lib.programFd(program)]))
    return {
      programFd(name) {
        const fd = fds.get(name)
        if (fd === undefined) throw new RangeError(`${options.path} has no program ${name}`)
        return fd
      },
      [Symbol.dispose]() {
        if (isOpen) lib.close(object) // a second one would free twice
        isOpen = false
      },
    }
  } catch (error) {
    lib.close(object)
    throw error
  }
}

const LOG_BYTES = 256 * 1024 // filled by the kernel only after a refusal
const SHOWN_LINES = 4

function pinMaps(object: Pointer, options: { readonly path: string; readonly directory: string; readonly constant?: bigint }): void {
  const lib = libbpf()
  const constant = Buffer.alloc(8)
  constant.writeBigUInt64LE(options.constant ?? 0n)
  for (let map = lib.nextMap(object, null); map !== null; map = lib.nextMap(object, map)) {
    const name = lib.mapName(map)
    const isConstant = lib.mapIsInternal(map) && name.includes('rodata')
    const result = isConstant ? lib.setInitial(map, constant, constant.length) : lib.setPinPath(map, pins.map(options.directory, name))
    if (result < 0) throw bpfFailure('OBJECT_UNREADABLE', { path: options.path, map: name, errno: bpfErrno() })
  }
}

function programs(object: Pointer): Pointer[] {
  const found: Pointer[] = []
  for (let program = libbpf().nextProgram(object, null); program !== null; program = libbpf().nextProgram(object, program))
    found.push(program)
  return found
}

/** libbpf keeps the addresses: the buffers must stay referenced until load returned. */
function logBuffers(object: Pointer): Buffer[] {
  return programs(object).map((program) => {
    const log = Buffer.alloc(LOG_BYTES)
    libbpf().setLogBuffer(program, log, log.length)
    return log
  })
}

function lastLines(logs: readonly Buffer[]): string {
  const texts = logs.map((log) => log.subarray(0, Math.max(0, log.indexOf(0))).toString('latin1'))
  const failed = texts.find((text) => text !== '' && !text.includes('verification time')) ?? ''
  return failed.trim().split('\n').slice(-SHOWN_LINES).join(' | ')
}
