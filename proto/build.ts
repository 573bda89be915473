// Regenerates proto/*_pb.ts from proto/*.proto with buf and protoc-gen-es (`node scripts/run.mjs build:proto`).
// The generated files are committed; a test compares them with what this writes.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const FOLDER = import.meta.dirname
const BIN = join(FOLDER, '..', 'node_modules', '.bin')

/**
 * Writes one `NAME_pb.ts` per `NAME.proto` into `out`.
 * @throws Error when a .proto does not compile (buf's own message)
 */
export function buildProto(out: string): void {
  const cache = mkdtempSync(join(tmpdir(), 'weft-buf-'))
  const plugin = { local: join(BIN, 'protoc-gen-es'), out, opt: ['target=ts', 'import_extension=ts', 'erasable_syntax=true'] }
  try {
    execFileSync(join(BIN, 'buf'), ['generate', FOLDER, '--template', JSON.stringify({ version: 'v2', plugins: [plugin] })], {
      cwd: FOLDER,
      env: { PATH: `${BIN}:/usr/bin:/bin`, HOME: cache, BUF_CACHE_DIR: cache },
      stdio: ['ignore', 'inherit', 'inherit'],
    })
  } finally {
    rmSync(cache, { recursive: true, force: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) buildProto(FOLDER)
