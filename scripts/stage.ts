// Puts what runs into a folder, as JavaScript: types stripped, `.ts` in imports and file names made `.js`. Node refuses to strip types
// below node_modules, so a published package is made of this. npm's prepack calls it (`dist/`), postpack removes the folder.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
/** Where prepack puts it; package.json's `files` names it. */
const DIST = join(ROOT, 'dist')

const FOLDERS = [
  ...['bpf', 'certs', 'cli', 'cni', 'controlplane', 'hbone', 'http', 'identity', 'kit', 'linux', 'model', 'objects', 'policy', 'proto'],
  ...['runtime', 'samples', 'state', 'tap', 'telemetry', 'waypoint', 'xds', 'zds', 'ztunnel', 'deploy/chart'],
]
/** Sources of what is built beforehand, and their compilers. */
const NOT_RUN = /\.proto$|\.[ch]$|^bpf\/(src|include)\/|^(bpf|proto)\/build\.ts$/
/** A path in quotes: an import, a worker, a program that is started. */
const QUOTED_TS = /(['"`])([\w@./-]+)\.ts\1/g

/**
 * @param folder is made; what was there is removed
 * @param more folders that are not part of the package
 * @returns number of files
 */
export function stage(folder: string, more: readonly string[] = []): number {
  rmSync(folder, { recursive: true, force: true })
  const files = [...FOLDERS, ...more].flatMap((name) => listFiles(name)).filter((path) => !NOT_RUN.test(path))
  for (const path of files) {
    const target = join(folder, path.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(target), { recursive: true })
    if (path.endsWith('.ts')) writeFileSync(target, toJavaScript(path))
    else cpSync(join(ROOT, path), target)
  }
  return files.length
}

function toJavaScript(path: string): string {
  const text = stripTypeScriptTypes(readFileSync(join(ROOT, path), 'utf8'))
  return text.replace(QUOTED_TS, (whole: string, quote: string, name: string) => {
    const isThere = [resolve(ROOT, dirname(path), `${name}.ts`), resolve(ROOT, `${name}.ts`)].some((file) => existsSync(file))
    return isThere ? `${quote}${name}.js${quote}` : whole
  })
}

function listFiles(folder: string): string[] {
  const top = join(ROOT, folder)
  return readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort()
}

if (import.meta.main) {
  if (process.argv[2] === 'remove') rmSync(DIST, { recursive: true, force: true })
  else process.stderr.write(`dist/: ${stage(DIST)} files\n`)
}
