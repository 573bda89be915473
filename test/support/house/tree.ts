// The files of the checkout as the house rules see them: path, text, and the syntax tree from TypeScript's own parser.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Node, SourceFile } from 'typescript/unstable/ast'
import { createVirtualFileSystem } from 'typescript/unstable/fs'
import { API } from 'typescript/unstable/sync'

/** Root of the checkout. */
export const ROOT = join(import.meta.dirname, '..', '..', '..')

/** One text file; `ast` only for .ts files. `path` is relative to the root, with slashes. */
export interface TreeFile {
  readonly path: string
  readonly text: string
  readonly ast?: SourceFile
}

const NOT_OURS = /^(node_modules|\.git|\.cache|bpf\/objects)(\/|$)/
const IS_TEXT = /\.(ts|mjs|js|c|h|md|sh|ya?ml|json|proto|txt)$|^\.ci\/run$|^weft$/

/** Every text file of the checkout, sorted by path, with syntax trees. Starts and ends one compiler process. */
export function readTree(): readonly TreeFile[] {
  const paths = listFiles('').sort()
  const api = new API({ cwd: ROOT })
  try {
    const program = api.updateSnapshot({ openProjects: [join(ROOT, 'tsconfig.json')] }).getProjects()[0]?.program
    return paths.map((path) => {
      const ast = path.endsWith('.ts') ? program?.getSourceFile(join(ROOT, path)) : undefined
      return { path, text: readFileSync(join(ROOT, path), 'utf8'), ...(ast === undefined ? {} : { ast }) }
    })
  } finally {
    api.close()
  }
}

/** Parses texts that are in no file, for planting faults: path -> text. */
export function parseTexts(texts: Readonly<Record<string, string>>): readonly TreeFile[] {
  const place = (path: string): string => `/planted/${path}`
  const config = {
    '/planted/tsconfig.json': '{"compilerOptions":{"noLib":true,"allowImportingTsExtensions":true,"noEmit":true},"include":["**/*.ts"]}',
  }
  const files = Object.fromEntries(Object.entries(texts).map(([path, text]) => [place(path), text]))
  const api = new API({ cwd: '/planted', fs: createVirtualFileSystem({ ...config, ...files }) })
  try {
    const program = api.updateSnapshot({ openProjects: ['/planted/tsconfig.json'] }).getProjects()[0]?.program
    return Object.entries(texts).map(([path, text]) => {
      const ast = path.endsWith('.ts') ? program?.getSourceFile(place(path)) : undefined
      return { path, text, ...(ast === undefined ? {} : { ast }) }
    })
  } finally {
    api.close()
  }
}

/** Calls `visit` on every node below `node`, parents first. */
export function walk(node: Node, visit: (node: Node) => void): void {
  node.forEachChild((child) => {
    visit(child)
    walk(child, visit)
  })
}

/** 1-based line of a position. */
export function lineAt(text: string, position: number): number {
  let line = 1
  for (let at = text.indexOf('\n'); at !== -1 && at < position; at = text.indexOf('\n', at + 1)) line++
  return line
}

function listFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (NOT_OURS.test(path)) return []
    if (entry.isDirectory()) return listFiles(path)
    return entry.isFile() && IS_TEXT.test(path) ? [path] : []
  })
}
