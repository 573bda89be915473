// Who may import whom: the layer table, and the check of one file's imports against it.
import { posix } from 'node:path'
import type { SourceFile } from 'typescript/unstable/ast'
import { isExportDeclaration, isImportDeclaration, isStringLiteral } from 'typescript/unstable/ast/is'
import type { TreeFile } from './tree.ts'
import { lineAt } from './tree.ts'

/** Folder -> layer. A file imports its own folder and lower layers; 0 and 4 may also import their own layer. */
export const LAYERS: Readonly<Record<string, number>> = {
  kit: 0,
  model: 0,
  proto: 0,
  linux: 1,
  certs: 1,
  policy: 1,
  telemetry: 1,
  hbone: 2,
  xds: 2,
  zds: 2,
  bpf: 2,
  objects: 2,
  tap: 2,
  state: 2,
  identity: 2,
  http: 2,
  ztunnel: 3,
  waypoint: 3,
  controlplane: 3,
  cni: 3,
  dashboard: 3,
  runtime: 4,
  cli: 4,
}

const SIDEWAYS_IS_FINE = new Set([0, 4])
/** Inside ztunnel: the connection path knows nothing of the process around it, DNS nothing of connections. */
const ZTUNNEL_RANKS: readonly { readonly of: RegExp; readonly never: RegExp }[] = [
  { of: /^ztunnel\/proxy\//, never: /^ztunnel\/(main|app|pod|enroll)\.ts$|^ztunnel\/admin\// },
  { of: /^ztunnel\/dns\//, never: /^ztunnel\/(main|app|pod|enroll)\.ts$|^ztunnel\/(admin|proxy)\// },
]
/** Pure folders and files: values in, values out. */
const PURE = /^(policy|model|certs)\/|^ztunnel\/proxy\/decide\.ts$/
const IMPURE = /^node:(net|fs|timers)(\/|$)/
/** Generated wire types stay in the layers that decode them; the certificate service is decoded by its two ends. */
const GENERATED = /^proto\/.*_pb\.ts$/
const MAY_DECODE = /^controlplane\/ca\//

/** The imports of a file: what it names, at which line, and whether only types are taken. */
export function importsOf(file: TreeFile): readonly { readonly target: string; readonly line: number; readonly isType: boolean }[] {
  const ast: SourceFile | undefined = file.ast
  if (ast === undefined) return []
  return ast.statements.flatMap((statement) => {
    if (!isImportDeclaration(statement) && !isExportDeclaration(statement)) return []
    const from = statement.moduleSpecifier
    if (from === undefined || !isStringLiteral(from)) return []
    const isType = /^(import|export)\s+type\b/.test(statement.getText(ast))
    return [{ target: from.text, line: lineAt(file.text, statement.getStart(ast)), isType }]
  })
}

/**
 * @param packages names in package.json's `dependencies`: all that product code may import beside node: and the tree
 * @returns one sentence per forbidden import
 */
export function checkImports(file: TreeFile, packages: ReadonlySet<string>): readonly string[] {
  const folder = file.path.split('/')[0] ?? ''
  const layer = LAYERS[folder]
  if (layer === undefined) return []
  return importsOf(file).flatMap(({ target, line, isType }) => {
    const fault = target.startsWith('.')
      ? checkOwn(file.path, layer, posix.join(posix.dirname(file.path), target))
      : checkForeign(file.path, target, isType, packages)
    return fault === undefined ? [] : [`${file.path}:${line}: ${fault}`]
  })
}

function checkOwn(path: string, layer: number, target: string): string | undefined {
  const [own, other] = [path.split('/')[0] ?? '', target.split('/')[0] ?? '']
  const otherLayer = LAYERS[other]
  if (!/\.(ts|mjs)$/.test(target)) return `import of ${target} without .ts`
  if (otherLayer === undefined) return `product code imports ${target}`
  if (own !== other && (otherLayer > layer || (otherLayer === layer && !SIDEWAYS_IS_FINE.has(layer)))) {
    return `${own}/ (layer ${layer}) imports ${target} (layer ${otherLayer})`
  }
  if (layer > 2 && GENERATED.test(target) && !MAY_DECODE.test(path)) return `generated ${target} is used above layer 2`
  const rank = ZTUNNEL_RANKS.find((row) => row.of.test(path) && row.never.test(target))
  return rank === undefined ? undefined : `${target} is above it inside ztunnel/`
}

function checkForeign(path: string, target: string, isType: boolean, packages: ReadonlySet<string>): string | undefined {
  if (target.startsWith('node:')) return PURE.test(path) && !isType && IMPURE.test(target) ? `a pure file imports ${target}` : undefined
  const name = target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/')
  return packages.has(name) ? undefined : `package ${name} is not in package.json's dependencies`
}
