// Files of the host that are read with care, or replaced whole: whoever reads them sees the old one or the new one, never a part.
import {
  chmodSync,
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { codeOf } from '../../kit/error.ts'

const MAX_CONF_BYTES = 1024 * 1024

/** @param mode absent = as the file that is replaced, or 0644 */
export function replaceFile(path: string, content: string | Uint8Array, mode?: number): void {
  const temporary = join(dirname(path), `.${basename(path)}.weft-new`)
  rmSync(temporary, { force: true })
  const fd = openSync(temporary, 'wx', 0o600)
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
    fsyncSync(fd) // else a power cut may leave an empty file of the right name
  } finally {
    closeSync(fd)
  }
  chmodSync(temporary, mode ?? modeOf(path))
  renameSync(temporary, path)
}

/** Text of a file; undefined = gone, no file, or too long for a configuration. */
export function readConf(path: string): string | undefined {
  try {
    const { size } = statSync(path)
    return size > MAX_CONF_BYTES ? undefined : readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'EISDIR'].includes(codeOf(error))) return undefined
    throw error
  }
}

/** Whether a file has exactly these bytes and may be executed. */
export function isProgram(path: string, content: Uint8Array): boolean {
  try {
    const found = lstatSync(path)
    return found.isFile() && (found.mode & 0o111) === 0o111 && found.size === content.length && readFileSync(path).equals(content)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

function modeOf(path: string): number {
  try {
    return statSync(path).mode & 0o777
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0o644
    throw error
  }
}

/** Names in a directory; none when there is no such directory. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}
