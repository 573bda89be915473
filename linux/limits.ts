// The limit of open files: a proxy needs two per connection, and the soft default of 1024 is for select().
import { check, library } from './ffi.ts'

/**
 * Raises this process's soft RLIMIT_NOFILE to the hard limit.
 * @returns the limit now in force
 * @throws MeshError SYSCALL_FAILED
 */
export function raiseFileLimit(): number {
  const c = library('libc.so.6')
  const getrlimit: (kind: number, limit: Buffer) => number = c.func('int getrlimit(int kind, _Out_ void *limit)')
  const setrlimit: (kind: number, limit: Buffer) => number = c.func('int setrlimit(int kind, const void *limit)')
  const limit = Buffer.alloc(16) // struct rlimit { unsigned long soft, hard; }
  check(getrlimit(RLIMIT_NOFILE, limit), 'getrlimit')
  limit.copy(limit, 0, 8, 16)
  check(setrlimit(RLIMIT_NOFILE, limit), 'setrlimit')
  return Number(limit.readBigUInt64LE(0))
}

const RLIMIT_NOFILE = 7
